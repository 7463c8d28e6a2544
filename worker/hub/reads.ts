// What the hub shows of its host and its deploys to those who may read them.

import type { DeployDetails, HostState, ReleaseState, StackState } from '../../shared/api.ts'
import { chatTrigger, isKnownChat } from '../../shared/chat/chat.ts'
import { isFinal, type Deploy } from '../../shared/deploy.ts'
import type { LoggedEvent } from '../../shared/events.ts'
import type { AnyRequest } from '../../shared/request.ts'
import { allows, type Claims } from '../../shared/tokens.ts'
import { isKnownTrigger } from '../../shared/triggers/index.ts'
import type { Refusal } from '../refusal.ts'
import { OF_CHATS } from './chat/known.ts'
import { releases, withGaps } from './decide.ts'
import type { FactStore } from './facts.ts'
import * as log from './log.ts'
import type { liveAgent } from './sockets.ts'
import { triggerState } from './uses.ts'

const UNKNOWN_TYPE =
  'this relay is older than the agent and refuses what comes to a trigger of this type: update the relay'

export function readHost(
  facts: FactStore,
  { host, claims, live }: { host: string; claims: Claims; live: ReturnType<typeof liveAgent> },
): HostState {
  const seenAt = live?.seenAt ?? facts.get('seenAt') ?? null
  const hello = facts.get('hello')
  return {
    host,
    agent: {
      status: live ? 'online' : 'offline',
      since: live?.agent.connectedAt ?? seenAt,
      lastSeen: seenAt,
      version: hello?.agent ?? null,
    },
    stacks: hello?.stacks.filter((stack) => allows(claims, 'read', stack)) ?? [],
  }
}

export async function readStack(
  sql: SqlStorage,
  facts: FactStore,
  { host, claims, stack }: { host: string; claims: Claims; stack: string },
): Promise<StackState | Refusal> {
  const hello = facts.get('hello')
  if (!hello?.stacks.includes(stack) || !allows(claims, 'read', stack)) return stackUnknown(stack)
  const chats = (hello.chats ?? [])
    .filter(isKnownChat)
    .filter((chat) => chat.stacks.some(({ name }) => name === stack))
    .map(async (chat) => ({
      ...(await triggerState(sql, { ...chat, stack: OF_CHATS })),
      name: chatTrigger(chat),
    }))
  const triggers = hello.triggers
    .filter((trigger) => trigger.stack === stack)
    .map(async (trigger) => ({
      ...(await triggerState(sql, trigger)),
      ...(isKnownTrigger(trigger) ? {} : { fault: UNKNOWN_TYPE }),
    }))
  return {
    host,
    stack,
    triggers: await Promise.all([...triggers, ...chats]),
    latest: log.listDeploys(sql, [stack], 1)[0] ?? null,
  }
}

export function readDeploys(
  sql: SqlStorage,
  claims: Claims,
  { stack, limit }: { stack?: string | undefined; limit: number },
): { deploys: Deploy[] } {
  if (stack === undefined) return { deploys: log.listDeploys(sql, claims.stacks, limit) }
  return { deploys: allows(claims, 'read', stack) ? log.listDeploys(sql, [stack], limit) : [] }
}

export function readDetails(sql: SqlStorage, deploy: Deploy): DeployDetails {
  const first = log.edgeEvent(sql, deploy.id, 'first')
  return {
    ...deploy,
    request: log.requestOf(first),
    outcome: isFinal(deploy.status) ? (log.edgeEvent(sql, deploy.id, 'last') ?? null) : null,
  }
}

/** Whether a deploy was asked for by a request that said the same. */
export function isSameRequest(sql: SqlStorage, id: string, request: AnyRequest): boolean {
  const first = log.edgeEvent(sql, id, 'first')
  return first !== undefined && canonical(log.requestOf(first)) === canonical(request)
}

function canonical(request: AnyRequest): string {
  return JSON.stringify(
    Object.entries(request)
      .filter(([, value]) => value !== undefined)
      .toSorted(),
  )
}

export function readReleases(
  sql: SqlStorage,
  facts: FactStore,
  { claims, stack, limit }: { claims: Claims; stack: string; limit: number },
): { releases: ReleaseState[] } | Refusal {
  if (!facts.get('hello')?.stacks.includes(stack) || !allows(claims, 'read', stack))
    return stackUnknown(stack)
  return { releases: releases(log.listReleased(sql, stack), limit, (deploy) => log.findPlan(sql, deploy)) }
}

export function readEvents(sql: SqlStorage, id: string, after: number): LoggedEvent[] {
  return withGaps(after, log.listEvents(sql, id, after))
}

export const stackUnknown = (stack: string): Refusal => ({
  refused: 'stack-unknown',
  message: `the host has no stack ${stack}`,
  cure: 'see its ropeway.yml; the relay knows what the agent said when it last connected',
})
