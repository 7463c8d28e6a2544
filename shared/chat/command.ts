// What people may say to a bot, and its grammar: `deploy STACK [TAG]`, `status`, `history`, `rollback STACK`, `help`. Pure; hub and agent each
// read what was said for themselves.

import { DIGEST_PATTERN, TAG_PATTERN } from '../image.ts'
import type { CommandFault } from './denial.ts'

export type Command =
  | { readonly verb: 'help' }
  | {
      readonly verb: 'status' | 'history' | 'rollback' | 'deploy'
      readonly stack: string
      /** The tag or digest that was named; only with `deploy`. */
      readonly tag: string | undefined
    }

const VERBS = ['help', 'status', 'history', 'rollback', 'deploy'] as const

/** The longest command: a verb, a stack and a tag have 200 characters. More is refused unread. */
const COMMAND_CHARS_MAX = 400

/**
 * Reads a command. The stack may be left out where there is one alone.
 *
 *     parseCommand('deploy hello v2', ['hello', 'api'])   // { verb: 'deploy', stack: 'hello', tag: 'v2' }
 */
export function parseCommand(
  text: string,
  stacks: readonly string[],
): Command | { readonly fault: CommandFault } {
  if (text.length > COMMAND_CHARS_MAX) return { fault: { code: 'too-long' } }
  const [said = 'help', ...rest] = text.split(/\s+/).filter((word) => word !== '')
  const verb = VERBS.find((each) => each === said.toLowerCase())
  if (verb === undefined) return { fault: { code: 'verb-unknown', verb: said } }
  if (verb === 'help') return { verb }
  const only = stacks.length === 1 ? stacks[0] : undefined
  const named = stacks.find((each) => each === rest[0])
  const stack = named ?? only
  const [tag, ...more] = named === undefined ? rest : rest.slice(1)
  if (stack === undefined)
    return {
      fault: tag === undefined ? { code: 'stack-missing', stacks } : { code: 'stack-unknown', stack: tag },
    }
  // If no stack was named, the word that does not fit was meant as one.
  if (more.length > 0 || (tag !== undefined && verb !== 'deploy'))
    return {
      fault:
        named === undefined ? { code: 'stack-unknown', stack: tag ?? '' } : { code: 'too-many-words', verb },
    }
  if (tag !== undefined && !TAG_PATTERN.test(tag) && !DIGEST_PATTERN.test(tag))
    return { fault: { code: 'tag-invalid', tag } }
  return { verb, stack, tag }
}
