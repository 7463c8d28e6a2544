// A host at a real relay with a chat, and its agent.

import { afterAll, beforeAll, expect } from 'vitest'
import type { Relay } from '../../../agent/relay/relay.ts'
import type { Chat } from '../../../shared/chat/chat.ts'
import type { AgentEvent } from '../../../shared/events.ts'
import { CHAT_TTL_MS } from '../../../shared/limits.ts'
import { PROTOCOL_VERSION } from '../../../shared/protocol.ts'
import { testRelay, TestHost, type AgentSocket } from '../relay.ts'

/** Of which people name tags. */
export const IMAGE = 'ghcr.io/acme/hello'
/** How a deploy of its v2 ends. */
export const DONE: AgentEvent = {
  type: 'succeeded',
  ms: 2420,
  changed: true,
  services: { app1: `${IMAGE}:v2` },
  release: 4,
}

/** A relay for all tests of a file, whose calls to a platform go to its stand-in; that must have found nothing wrong with any. */
export function relayBeside(standIn: {
  readonly outbound: (request: Request) => Promise<Response>
  readonly faults: readonly string[]
}): () => Relay {
  let relay: Relay | undefined
  beforeAll(async () => {
    relay = await testRelay({ outbound: standIn.outbound })
  })
  afterAll(async () => {
    await relay?.stop()
    expect(standIn.faults).toEqual([])
  })
  return () => {
    if (!relay) throw new Error('no test has begun')
    return relay
  }
}

export interface ChatScene {
  readonly host: TestHost
  readonly agent: AgentSocket
  /** Where the platform posts to. */
  readonly url: string
  readonly chat: Chat
  /** The last request that was refused, as the host's people see it. */
  refused(stack?: string): Promise<string | undefined>
}

export type ChatParts = Partial<Chat> & Pick<Chat, 'type' | 'keys' | 'stacks'>

export async function chatScene(relay: Relay, parts: ChatParts): Promise<ChatScene> {
  const host = await TestHost.enrolled(relay)
  const chat: Chat = { name: 'ops', ttlMs: CHAT_TTL_MS, teams: [], channels: [], ...parts }
  const agent = await withChats(host, [chat])
  return {
    host,
    agent,
    url: `${relay.url}/hooks/${host.name}/ops`,
    chat,
    refused: async (stack = 'hello') => {
      const { triggers } = (await host.get(`/stacks/${stack}`)).body
      return triggers.find(({ name }: { name: string }) => name === 'chat:ops')?.stale?.message
    },
  }
}

/** An agent that has said hello with these chats. */
export async function withChats(host: TestHost, chats: readonly Chat[]): Promise<AgentSocket> {
  const agent = await host.silentAgent()
  const stacks = [...new Set(chats.flatMap((chat) => chat.stacks.map(({ name }) => name)))]
  agent.send({
    type: 'hello',
    v: PROTOCOL_VERSION,
    agent: '0.0.0-test',
    stacks,
    triggers: [],
    chats: [...chats],
    revoked: [],
  })
  const welcome = await agent.next()
  if (welcome.type !== 'welcome') throw new Error(`${welcome.type} instead of welcome`)
  return agent
}
