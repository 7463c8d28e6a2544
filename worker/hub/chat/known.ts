// The chats that the agent has named, and what is noted of each for the host's people.

import { isKnownChat, type Chat } from '../../../shared/chat/chat.ts'
import type { FactStore } from '../facts.ts'
import { noteStale } from '../uses.ts'

/** Stands for a stack's name where a chat's requests are counted or noted. No stack can have this name. */
export const OF_CHATS = '@chat'

export function chatNamed(facts: FactStore, name: string): Chat | undefined {
  const named = facts.get('hello')?.chats?.find((each) => each.name === name)
  return named && isKnownChat(named) ? named : undefined
}

/** Notes what was refused or could not be shown. At most one a minute is kept; `ropeway status` shows the last. */
export function noteFault(sql: SqlStorage, { name }: Pick<Chat, 'name'>, message: string, now: number): void {
  noteStale(sql, { stack: OF_CHATS, name }, message, now)
}
