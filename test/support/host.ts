// A host for tests: a directory, a key, one stack with a trigger, frames as a hub would deliver them, and a fake roll.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { startAgent, type AgentOptions } from '../../agent/daemon/agent.ts'
import type { Config, StackConfig } from '../../agent/config/config.ts'
import { loadOrCreateKey, openIdentity, type HostKey } from '../../agent/identity/identity.ts'
import { Journal } from '../../agent/daemon/journal/journal.ts'
import type { VerifiedDeploy } from '../../agent/daemon/verified-deploy.ts'
import { noticesOf } from '../../agent/notify/notifier.ts'
import type { Ports } from '../../agent/roll/ports.ts'
import { deployId } from '../../shared/deploy-id.ts'
import { HINT_TTL_MS, REQUEST_TTL_MS } from '../../shared/limits.ts'
import { toBase64, type CancelFrame, type DeployFrame } from '../../shared/protocol.ts'
import { sha256Hex, signToken, type Scope } from '../../shared/tokens.ts'
import { TOKEN_TRIGGER, type Trigger } from '../../shared/triggers/index.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { STACK_DEFAULTS } from './stack-config.ts'
import { FakeReleases, FakeStuckNotes } from './world/memory.ts'

export const SECRET = `whsec_${btoa('0123456789abcdefghijklmn')}`
export const OTHER_SECRET = `whsec_${btoa('nmlkjihgfedcba9876543210')}`
/** The Ed25519 pair of RFC 8032's first test, as Standard Webhooks writes it. */
const SEED = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'
const POINT = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
export const PUBLIC_KEY = `whpk_${Buffer.from(POINT, 'hex').toString('base64')}`
export const PRIVATE_KEY = `whsk_${Buffer.from(SEED + POINT, 'hex').toString('base64')}`
export const HOST = 'vps-1'

export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'ropeway-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A stack that `deploy` may sign for, `hinted` may hint at, and `asymmetric` signs for with a key of its own. */
export function stackConfig(name = 'hello', secret = SECRET, triggers?: readonly Trigger[]): StackConfig {
  return {
    name,
    compose: ['/nowhere/docker-compose.yml'],
    project: undefined,
    ...STACK_DEFAULTS,
    triggers: triggers ?? [
      { type: 'standard-webhooks', stack: name, name: 'deploy', ttlMs: REQUEST_TTL_MS, keys: [secret] },
      { type: 'url', stack: name, name: 'hinted', ttlMs: HINT_TTL_MS, keys: ['0'.repeat(64)] },
      {
        type: 'standard-webhooks-v1a',
        stack: name,
        name: 'asymmetric',
        ttlMs: REQUEST_TTL_MS,
        keys: [PUBLIC_KEY],
      },
    ],
  }
}

export function configFor(
  relay: string,
  stacks: readonly StackConfig[] = [stackConfig()],
  chats: Config['chats'] = [],
): Config {
  return { path: '/nowhere/ropeway.yml', relay, host: HOST, stacks, chats }
}

const encoder = new TextEncoder()

export interface HookParts {
  readonly stack?: string
  readonly trigger?: string
  readonly eventId?: string
  readonly secret?: string
  readonly body?: string
  readonly atSeconds?: number
}

/** A hook's frame as an honest hub delivers it. */
export async function hookFrame(parts: HookParts = {}): Promise<DeployFrame> {
  const { stack = 'hello', trigger = 'deploy', eventId = 'msg_1', secret = SECRET, body = '{}' } = parts
  const bytes = encoder.encode(body)
  const headers = await signStandardWebhook(secret, {
    id: eventId,
    timestampSeconds: parts.atSeconds ?? Math.floor(Date.now() / 1000),
    body: bytes,
  })
  return {
    type: 'deploy',
    id: await deployId(HOST, stack, trigger, eventId),
    stack,
    trigger,
    acceptedAt: Date.now(),
    proof: { kind: 'hook', headers, body: toBase64(bytes) },
  }
}

/** A hint's frame, of which anybody could have made up the nonce. */
export async function hintFrame(nonce: string, trigger = 'hinted', stack = 'hello'): Promise<DeployFrame> {
  const padded = Buffer.from(nonce).toString('hex').padEnd(32, '0').slice(0, 32)
  return {
    type: 'deploy',
    id: await deployId(HOST, stack, trigger, '@hint', padded),
    stack,
    trigger,
    acceptedAt: Date.now(),
    proof: { kind: 'hint', nonce: padded },
  }
}

/** A deploy as the journal takes it in. */
export function takenIn(over: Partial<VerifiedDeploy> & Pick<VerifiedDeploy, 'id'>): VerifiedDeploy {
  const signedAt = over.signedAt ?? Date.now()
  return {
    stack: 'hello',
    trigger: 'deploy',
    actor: 'deploy',
    trust: 'signed',
    request: {},
    signedAt,
    expiresAt: signedAt + REQUEST_TTL_MS,
    ...over,
  }
}

export interface TokenParts {
  readonly relay: string
  readonly stack?: string
  readonly stacks?: readonly string[]
  readonly scopes?: readonly Scope[]
  readonly body?: string
  readonly boundTo?: string
  readonly now?: Date
  readonly idempotencyKey?: string
}

/** A token's frame as an honest hub delivers it. */
export async function tokenFrame(key: HostKey, parts: TokenParts): Promise<DeployFrame> {
  const { stack = 'hello', body = '{}', idempotencyKey = 'key-1' } = parts
  const token = await signToken(key.privateKey, {
    host: HOST,
    audience: parts.relay,
    actor: 'cli:test',
    scopes: parts.scopes ?? ['deploy'],
    stacks: parts.stacks,
    ...(parts.boundTo === undefined ? {} : { bodySha256: await sha256Hex(encoder.encode(parts.boundTo)) }),
    ttlSeconds: 300,
    now: parts.now ?? new Date(),
  })
  const { jti } = JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))) as {
    jti: string
  }
  const rest = parts.boundTo === undefined ? [idempotencyKey, await sha256Hex(encoder.encode(body))] : []
  return {
    type: 'deploy',
    id: await deployId(HOST, stack, '@token', jti, ...rest),
    stack,
    trigger: TOKEN_TRIGGER,
    acceptedAt: Date.now(),
    proof: { kind: 'token', token, idempotencyKey, body: toBase64(encoder.encode(body)) },
  }
}

export interface CancelParts {
  readonly relay: string
  readonly deploy: string
  readonly stacks?: readonly string[]
  readonly scopes?: readonly Scope[]
  readonly body?: string
  /** False: the token is good for any body. */
  readonly isBound?: boolean
  readonly now?: Date
  readonly actor?: string
}

/** A cancel's frame as an honest hub hands it on. */
export async function cancelFrame(key: HostKey, parts: CancelParts): Promise<CancelFrame> {
  const { deploy, body = `{"cancel":"${deploy}"}`, isBound = true } = parts
  const bytes = encoder.encode(body)
  const token = await signToken(key.privateKey, {
    host: HOST,
    audience: parts.relay,
    actor: parts.actor ?? 'cli:test',
    scopes: parts.scopes ?? ['deploy'],
    stacks: parts.stacks,
    ...(isBound ? { bodySha256: await sha256Hex(bytes) } : {}),
    ttlSeconds: 300,
    now: parts.now ?? new Date(),
  })
  return { type: 'cancel', deploy, proof: { token, body: toBase64(bytes) } }
}

export interface RunningAgent {
  readonly rolls: string[]
  readonly recovered: { stack: string; record: string | undefined }[]
  readonly logs: string[]
  readonly connects: { count: number }
  readonly journal: Journal
  stop(): Promise<void>
}

/** Runs an agent on `dir` against a relay; its roll succeeds at once unless the test has one of its own. */
export async function runAgent(
  dir: string,
  relay: string,
  over: Partial<
    Pick<AgentOptions, 'config' | 'identity' | 'roll' | 'recover' | 'timing' | 'showNotices' | 'sendNotice'>
  > = {},
): Promise<RunningAgent> {
  const stop = new AbortController()
  const config = over.config ?? configFor(relay)
  const journal = new Journal(
    dir,
    noticesOf(config, (level, message) => logs.push(`${level}: ${message}`)),
  )
  const rolls: string[] = []
  const recovered: RunningAgent['recovered'] = []
  const logs: string[] = []
  const connects = { count: 0 }
  const roll: AgentOptions['roll'] =
    over.roll ??
    (async (_stack, _request, _ports, { emit }) => {
      emit({ type: 'started' })
      emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
    })
  await loadOrCreateKey(dir)
  const [releases, stuck] = [new FakeReleases(), new FakeStuckNotes()]
  const ended = startAgent({
    releasesOf: () => releases,
    stuckOf: () => stuck,
    showNotices: over.showNotices ?? (() => {}),
    ...(over.sendNotice === undefined ? {} : { sendNotice: over.sendNotice }),
    config,
    identity: over.identity ?? openIdentity(dir),
    journal,
    ports: {} as Ports,
    roll: async (stack, request, ports, context) => {
      rolls.push(stack.name)
      await roll(stack, request, ports, context)
    },
    recover: async (stack, request, record, ports, context) => {
      recovered.push({ stack: stack.name, record })
      if (over.recover) return over.recover(stack, request, record, ports, context)
      context.emit({ type: 'failed', ms: 1, problem: { code: 'interrupted', message: 'undone' } })
    },
    version: 'test',
    log: (level, message) => logs.push(`${level}: ${message}`),
    onConnected: () => (connects.count += 1),
    signal: stop.signal,
    timing: { wait: (ms) => Math.min(ms, 20), ...over.timing },
  })
  let isStopped = false
  const agent = {
    rolls,
    recovered,
    logs,
    connects,
    journal,
    stop: async () => {
      if (isStopped) return
      isStopped = true
      stop.abort()
      await ended
      journal.close()
    },
  }
  onTestFinished(() => agent.stop())
  return agent
}
