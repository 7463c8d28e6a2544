// What a bot says to whoever does not get what they said: the hub answers with it, and the agent's refusal quotes it.

import type { Denial } from './denial.ts'

/** What can be said, a line each. */
export const HELP: readonly string[] = [
  'deploy STACK [TAG]: roll a stack to a tag of its image; without one, to what its tag means today',
  'rollback STACK: roll it back to the release before',
  'status STACK: the agent, and the last deploy',
  'history STACK: the last releases',
]

const USAGE = {
  deploy: 'Say it as: deploy STACK [TAG]',
  status: 'Say it as: status [STACK]',
  history: 'Say it as: history [STACK]',
  rollback: 'Say it as: rollback STACK',
} as const

/**
 * The sentence of a denial.
 *
 *     denialWords({ code: 'not-allowed', to: 'deploy', stack: 'hello' })   // 'You may not deploy hello.'
 */
export function denialWords(why: Denial): string {
  switch (why.code) {
    case 'too-long':
      return 'That is too long for a command.'
    case 'verb-unknown':
      return `I do not know ${quoted(why.verb)}.`
    case 'stack-missing':
      return `Which stack? There are ${why.stacks.join(', ')}.`
    case 'stack-unknown':
      return `There is no stack ${quoted(why.stack)} here.`
    case 'tag-invalid':
      return `${quoted(why.tag)} is not a tag of an image.`
    case 'too-many-words':
      return USAGE[why.verb]
    case 'elsewhere':
      return 'I take no commands here.'
    case 'not-allowed':
      return notAllowed(why)
    case 'deploy-unknown':
      return 'I do not know that deploy any more.'
    case 'repository-unknown':
      return `I do not know of which image: ropeway.yml allows ${why.stack} no single repository (allow: images:).`
    case 'not-approved':
      return 'Nobody has approved it.'
    case 'own-request':
      return 'You may not approve what you asked for.'
    case 'approved-late':
      return 'It was asked for too long ago.'
  }
}

function notAllowed({ to, stack }: Extract<Denial, { code: 'not-allowed' }>): string {
  if (to === 'decide') return `You may not decide on deploys of ${stack}.`
  return to === 'go-back' ? `You may not roll ${stack} back.` : `You may not ${to} ${stack}.`
}

function quoted(word: string): string {
  return JSON.stringify(word.slice(0, 40))
}
