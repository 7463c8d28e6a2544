// What the hub shows of its host and its deploys to those who may read them.

import type { DeployDetails, HostState, ReleaseState, StackState } from '../../shared/api.ts'
import { chatTrigger, isKnownChat } from '../../shared/chat/chat.ts'
import { isFinal, type Deploy } from '../../shared/deploy.ts'
import type { LoggedEvent } from '../../shared/events.ts'
import { allows, type Claims, type Scope } from '../../shared/tokens.ts'
import { isKnownTrigger } from '../../shared/triggers/index.ts'
import { isRefusal, type Refusal } from '../refusal.ts'
import { OF_CHATS } from './chat/known.ts'
import { releases, withGaps } from './decide.ts'
import type { FactStore } from './facts.ts'
import * as log from './log.ts'
import type { liveAgent } from './sockets.ts'
import { triggerState } from './uses.ts'
import type { Holder } from './verify.ts'

/** What can be read. */
interface Queries {
  readonly host: { readonly kind: 'host' }
  readonly stack: { readonly kind: 'stack'; readonly stack: string }
  /** Without a stack: the deploys of all stacks that the caller may see. */
  readonly deploys: { readonly kind: 'deploys'; readonly stack?: string | undefined; readonly limit: number }
  readonly releases: { readonly kind: 'releases'; readonly stack: string; readonly limit: number }
  readonly deploy: { readonly kind: 'deploy'; readonly id: string }
  /** The events after a `seq`. */
  readonly events: { readonly kind: 'events'; readonly id: string; readonly after: number }
}

interface Answers {
  readonly host: HostState
  readonly stack: StackState
  readonly deploys: { deploys: Deploy[] }
  readonly releases: { releases: ReleaseState[] }
  readonly deploy: DeployDetails
  readonly events: { deploy: Deploy; events: LoggedEvent[] }
}

export type Kind = keyof Queries
export type Query<K extends Kind = Kind> = Queries[K]
export type Answer<K extends Kind> = Answers[K]

/** Where the answers are read from, and who reads them. */
export interface Source extends Holder {
  readonly sql: SqlStorage
  readonly facts: FactStore
  readonly liveAgent: () => ReturnType<typeof liveAgent>
}

type Reader<K extends Kind> = (
  source: Source,
  query: Query<K>,
) => Answer<K> | Refusal | Promise<Answer<K> | Refusal>

const READERS: { readonly [K in Kind]: Reader<K> } = {
  host: readHost,
  stack: readStack,
  deploys: readDeploys,
  releases: readReleases,
  deploy: ({ sql, claims }, { id }) => {
    const deploy = findDeploy(sql, claims, 'read', id)
    return isRefusal(deploy) ? deploy : detailsOf(sql, deploy)
  },
  events: ({ sql, claims }, { id, after }) => {
    const deploy = findDeploy(sql, claims, 'read', id)
    return isRefusal(deploy) ? deploy : { deploy, events: readEvents(sql, id, after) }
  },
}

/** Answers a query. The holder's token must have the scope `read`; stacks that it is not for are answered as if they did not exist. */
export async function read<K extends Kind>(source: Source, query: Query<K>): Promise<Answer<K> | Refusal> {
  return READERS[query.kind as K](source, query)
}

/** A deploy, if the token has the scope for its stack. Otherwise the answer is the same as for a deploy that does not exist. */
export function findDeploy(sql: SqlStorage, claims: Claims, scope: Scope, id: string): Deploy | Refusal {
  const deploy = log.findDeploy(sql, id)
  return deploy && allows(claims, scope, deploy.stack)
    ? deploy
    : { refused: 'not-found', message: 'the host has no such deploy' }
}

/** The events of a deploy after a `seq`, as a viewer gets them. */
export function readEvents(sql: SqlStorage, id: string, after: number): LoggedEvent[] {
  return withGaps(after, log.listEvents(sql, id, after))
}

const UNKNOWN_TYPE =
  'this relay is older than the agent and refuses what comes to a trigger of this type: update the relay'

function readHost({ facts, host, claims, liveAgent: findLive }: Source): HostState {
  const live = findLive()
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

async function readStack(
  { sql, facts, host, claims }: Source,
  { stack }: Query<'stack'>,
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

function readDeploys({ sql, claims }: Source, { stack, limit }: Query<'deploys'>): Answer<'deploys'> {
  if (stack === undefined) return { deploys: log.listDeploys(sql, claims.stacks, limit) }
  return { deploys: allows(claims, 'read', stack) ? log.listDeploys(sql, [stack], limit) : [] }
}

function readReleases(
  { sql, facts, claims }: Source,
  { stack, limit }: Query<'releases'>,
): Answer<'releases'> | Refusal {
  if (!facts.get('hello')?.stacks.includes(stack) || !allows(claims, 'read', stack))
    return stackUnknown(stack)
  return { releases: releases(log.listReleased(sql, stack), limit, (deploy) => log.findPlan(sql, deploy)) }
}

function detailsOf(sql: SqlStorage, deploy: Deploy): DeployDetails {
  const first = log.edgeEvent(sql, deploy.id, 'first')
  return {
    ...deploy,
    request: log.requestOf(first),
    outcome: isFinal(deploy.status) ? (log.edgeEvent(sql, deploy.id, 'last') ?? null) : null,
  }
}

export const stackUnknown = (stack: string): Refusal => ({
  refused: 'stack-unknown',
  message: `the host has no stack ${stack}`,
  cure: 'see its ropeway.yml; the relay knows what the agent said when it last connected',
})
