// What people may say to a bot, and its grammar: `deploy STACK [TAG]`, `status`, `history`, `rollback STACK`, `help`. Pure; hub and agent each
// read what was said for themselves.

import { DIGEST_PATTERN, TAG_PATTERN } from '../image.ts'

export type Command =
  | { readonly verb: 'help' }
  | {
      readonly verb: 'status' | 'history' | 'rollback' | 'deploy'
      readonly stack: string
      /** Of a deploy, and of that where one was named. */
      readonly tag: string | undefined
    }

const VERBS = ['help', 'status', 'history', 'rollback', 'deploy'] as const

/** The longest command: a verb, a stack and a tag have 200 characters. More is refused unread. */
const COMMAND_CHARS_MAX = 400

/**
 * Reads a command. The stack may be left out where there is one alone. The fault is for whoever said it.
 *
 *     parseCommand('deploy hello v2', ['hello', 'api'])   // { verb: 'deploy', stack: 'hello', tag: 'v2' }
 */
export function parseCommand(text: string, stacks: readonly string[]): Command | { readonly fault: string } {
  if (text.length > COMMAND_CHARS_MAX) return { fault: 'That is too long for a command.' }
  const [said = 'help', ...rest] = text.split(/\s+/).filter((word) => word !== '')
  const verb = VERBS.find((each) => each === said.toLowerCase())
  if (verb === undefined) return { fault: `I do not know ${quoted(said)}.` }
  if (verb === 'help') return { verb }
  const only = stacks.length === 1 ? stacks[0] : undefined
  const named = stacks.find((each) => each === rest[0])
  const stack = named ?? only
  const [tag, ...more] = named === undefined ? rest : rest.slice(1)
  if (stack === undefined)
    return {
      fault:
        tag === undefined
          ? `Which stack? There are ${stacks.join(', ')}.`
          : `There is no stack ${quoted(tag)} here.`,
    }
  if (more.length > 0 || (tag !== undefined && verb !== 'deploy'))
    return { fault: named === undefined ? `There is no stack ${quoted(tag ?? '')} here.` : USAGE[verb] }
  if (tag !== undefined && !TAG_PATTERN.test(tag) && !DIGEST_PATTERN.test(tag))
    return { fault: `${quoted(tag)} is not a tag of an image.` }
  return { verb, stack, tag }
}

const USAGE = {
  deploy: 'Say it as: deploy STACK [TAG]',
  status: 'Say it as: status [STACK]',
  history: 'Say it as: history [STACK]',
  rollback: 'Say it as: rollback STACK',
} as const

/** What can be said, a line each. */
export const HELP: readonly string[] = [
  'deploy STACK [TAG]: roll a stack to a tag of its image; without one, to what its tag means today',
  'rollback STACK: roll it back to the release before',
  'status STACK: the agent, and the last deploy',
  'history STACK: the last releases',
]

function quoted(word: string): string {
  return JSON.stringify(word.slice(0, 40))
}
