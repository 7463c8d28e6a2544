// Two builds side by side, either of them the older: what one says, the other can read.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startRelay, type Relay } from '../../agent/relay/relay.ts'
import { loadOrCreateKey } from '../../agent/identity/identity.ts'
import type { AgentEvent } from '../../shared/events.ts'
import { signToken } from '../../shared/tokens.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { HOST, runAgent, SECRET, tempDir } from '../support/host.ts'
import { ask, ENROLL_KEY, EventStream, testRelay } from '../support/relay.ts'
import { until } from '../support/until.ts'

/** The last build whose protocol was version 1. */
const OLDER = '92307dd'
const ROOT = join(import.meta.dirname, '../..')

let older: string

beforeAll(() => {
  older = mkdtempSync(join(tmpdir(), 'ropeway-older-'))
  let archive: Buffer
  try {
    archive = execFileSync('git', ['archive', OLDER], {
      cwd: ROOT,
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (cause) {
    throw new Error(`commit ${OLDER} is not in this clone: \`git fetch --unshallow\` brings it`, { cause })
  }
  execFileSync('tar', ['-x', '-C', older], { input: archive })
  symlinkSync(join(ROOT, 'node_modules'), join(older, 'node_modules'))
  execFileSync(process.execPath, ['test/build.ts', '--stale'], { cwd: older })
})
afterAll(() => rmSync(older, { recursive: true, force: true }))

const from = <T>(path: string): Promise<T> => import(join(older, path)) as Promise<T>

async function olderRelay(): Promise<Relay> {
  const { startRelay: start } = await from<{ startRelay: typeof startRelay }>('agent/relay.ts')
  return start({ dataDir: undefined, port: 0, enrollKey: ENROLL_KEY })
}
const olderAgent: typeof runAgent = async (...args) =>
  (await from<{ runAgent: typeof runAgent }>('test/support/host.ts')).runAgent(...args)

/** What no older version has ever heard of. */
const NEWER = JSON.parse(
  `[{"type":"brewed","text":"brewed it"},
    {"type":"planned","plan":{"stack":"hello","upstream":"u","instances":[],"steps":[{"kind":"brew","text":"brew it"}]}},
    {"type":"step-failed","step":0,"ms":1,"problem":{"code":"too-hot","message":"it is too hot"}}]`,
) as AgentEvent[]
const KNOWN: readonly AgentEvent[] = [
  { type: 'planned', plan: { stack: 'hello', upstream: 'u', instances: [], steps: [{ kind: 'verify' }] } },
  { type: 'step-started', step: 0 },
  { type: 'step-finished', step: 0, ms: 1, facts: {} },
]

test.each<[string, () => Promise<Relay>, typeof runAgent, readonly AgentEvent[], string]>([
  ['an older relay, a newer agent', olderRelay, runAgent, NEWER, 'warning planned step-failed'],
  ['a newer relay, a newer agent', testRelay, runAgent, NEWER, 'brewed planned step-failed'],
  ['a newer relay, an older agent', testRelay, olderAgent, KNOWN, 'planned step-started step-finished'],
])('%s: a deploy goes from its hook to its end', async (_, relayOf, agentOf, said, told) => {
  const relay = await relayOf()
  try {
    const dir = tempDir()
    const { privateKey, publicJwk } = await loadOrCreateKey(dir)
    await ask(`${relay.url}/v1/hosts/${HOST}/enroll`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ENROLL_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ publicKey: publicJwk }),
    })
    const agent = await agentOf(dir, relay.url, {
      roll: async (_stack, _request, _ports, { emit }) => {
        emit({ type: 'started' })
        for (const event of said) emit(event)
        emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
      },
    })
    await until('connected', () => agent.connects.count === 1)
    const body = '{}'
    const signed = await signStandardWebhook(SECRET, {
      id: 'msg_1',
      timestampSeconds: Math.floor(Date.now() / 1000),
      body: new TextEncoder().encode(body),
    })
    const accepted = await ask(`${relay.url}/hooks/${HOST}/hello/deploy`, {
      method: 'POST',
      headers: { ...signed, 'content-type': 'application/json' },
      body,
    })
    expect(accepted.status).toBe(202)
    const token = await signToken(privateKey, {
      host: HOST,
      audience: relay.url,
      actor: 'tester',
      scopes: ['read'],
      ttlSeconds: 60,
      now: new Date(),
    })
    const stream = await EventStream.open(
      `${relay.url}/v1/hosts/${HOST}/deploys/${accepted.body.deploy.id}/events`,
      {
        headers: { authorization: `Bearer ${token}` },
      },
    )
    const types = (await stream.rest()).map(({ event }) => event.type)
    expect(types.join(' ')).toBe(`accepted received started ${told} succeeded`)
    await until('all is stored', () => agent.journal.unacked().length === 0)
    expect(agent.connects.count).toBe(1)
    await agent.stop()
  } finally {
    await relay.stop()
  }
})
