// The chats that the agent has named, and what is noted of each for the host's people.

import { isKnownChat, type Chat } from '../../../shared/chat/chat.ts'
import type { FactStore } from '../facts.ts'
import { noteStale } from '../uses.ts'

/** In the place of a stack's name, for what is counted and noted of a chat; no stack can have it. */
export const OF_CHATS = '@chat'

export function chatNamed(facts: FactStore, name: string): Chat | undefined {
  const named = facts.get('hello')?.chats?.find((each) => each.name === name)
  return named && isKnownChat(named) ? named : undefined
}

/** What was refused, or could not be shown: `ropeway status` shows the last of a minute. */
export function noteFault(sql: SqlStorage, { name }: Pick<Chat, 'name'>, message: string, now: number): void {
  noteStale(sql, { stack: OF_CHATS, name }, message, now)
}
