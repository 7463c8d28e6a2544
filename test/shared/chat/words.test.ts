// The sentence of each reason for which a bot does not do what it is told.

import { expect, test } from 'vitest'
import { isForbidden, type Denial } from '../../../shared/chat/denial.ts'
import { denialWords } from '../../../shared/chat/words.ts'

test.each<[Denial, string]>([
  [{ code: 'too-long' }, 'That is too long for a command.'],
  [{ code: 'verb-unknown', verb: 'x'.repeat(41) }, `I do not know "${'x'.repeat(40)}".`],
  [{ code: 'stack-missing', stacks: ['hello', 'api'] }, 'Which stack? There are hello, api.'],
  [{ code: 'stack-unknown', stack: 'a"b' }, 'There is no stack "a\\"b" here.'],
  [{ code: 'tag-invalid', tag: '--force' }, '"--force" is not a tag of an image.'],
  [{ code: 'too-many-words', verb: 'status' }, 'Say it as: status [STACK]'],
  [{ code: 'elsewhere' }, 'I take no commands here.'],
  [{ code: 'not-allowed', to: 'deploy', stack: 'hello' }, 'You may not deploy hello.'],
  [{ code: 'not-allowed', to: 'rollback', stack: 'hello' }, 'You may not rollback hello.'],
  [{ code: 'not-allowed', to: 'go-back', stack: 'hello' }, 'You may not roll hello back.'],
  [{ code: 'not-allowed', to: 'decide', stack: 'hello' }, 'You may not decide on deploys of hello.'],
  [{ code: 'deploy-unknown' }, 'I do not know that deploy any more.'],
  [
    { code: 'repository-unknown', stack: 'hello' },
    'I do not know of which image: ropeway.yml allows hello no single repository (allow: images:).',
  ],
  [{ code: 'not-approved' }, 'Nobody has approved it.'],
  [{ code: 'own-request' }, 'You may not approve what you asked for.'],
  [{ code: 'approved-late' }, 'It was asked for too long ago.'],
])('%j', (why, sentence) => {
  expect(denialWords(why)).toBe(sentence)
  expect(isForbidden(why)).toBe(['elsewhere', 'not-allowed'].includes(why.code))
})
