// A 401 says nothing, and how long it takes says nothing either: whether host, stack or trigger exist cannot be told from outside.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { randomOf, shuffled } from '../support/random.ts'
import { TestHost, ask, testRelay, type Answer } from '../support/relay.ts'
import { UNAUTHORIZED_MS_MIN } from '../../worker/unauthorized.ts'

/** Of each kind. The standard error of an honest AUC is then 0.033. */
const SAMPLES = 150
/** In flight: more only wait for each other, here, and hide what is looked for. */
const AT_ONCE = 2
/** Four and a half of its standard errors. Without the least time of a 401 an unknown host has 0.7 to 0.9. */
const AUC_BAND = 0.15
/** The relay's clock shows whole milliseconds. */
const CLOCK_MS = 2

const random = randomOf('the order of the requests')
let relay: Relay
let host: TestHost
let stranger: TestHost
beforeAll(async () => {
  relay = await testRelay()
  host = await TestHost.enrolled(relay)
  stranger = await TestHost.unknown(relay)
  await (await host.agent()).close()
}, 60_000)
afterAll(() => relay.stop())

test('401 by hooks: a bad signature, an unknown trigger, stack or host take as long and say the same', async () => {
  const hook = (path: string) => () => host.hook('{}', { path, secret: stranger.secret })
  const kinds = {
    signature: hook(host.hookPath()),
    trigger: hook(host.hookPath('hello', 'unknown')),
    stack: hook(host.hookPath('unknown')),
    host: () => hook(`/hooks/host-${randomUUID()}/hello/deploy`)(),
  }
  await expectAlike(kinds)
}, 300_000)

test('401 by tokens: a wrong key and an unknown host take as long and say the same', async () => {
  const token = await host.token(['read'])
  const [, , signature] = (await stranger.token(['read'])).split('.')
  const wrong = [...token.split('.').slice(0, 2), signature].join('.')
  const get = (name: string) =>
    ask(`${relay.url}/v1/hosts/${name}`, { headers: { authorization: `Bearer ${wrong}` } })
  await expectAlike({
    'wrong key': () => get(host.name),
    'unknown host': () => get(`host-${randomUUID()}`),
  })
}, 300_000)

test('a body that comes slowly does not use the time up', async () => {
  for (const path of [host.hookPath(), `/hooks/host-${randomUUID()}/hello/deploy`]) {
    let lastAt = 0
    const body = new ReadableStream<Uint8Array>({
      async start(out) {
        out.enqueue(Buffer.from('{'))
        // The relay has all but the last byte for longer than a 401 takes: what follows is its own doing.
        await new Promise((resolve) => setTimeout(resolve, 2 * UNAUTHORIZED_MS_MIN))
        lastAt = performance.now()
        out.enqueue(Buffer.from('}'))
        out.close()
      },
    })
    const headers = { 'content-type': 'application/json' }
    const answer = await ask(relay.url + path, { method: 'POST', headers, body, duplex: 'half' })
    expect(answer.status).toBe(401)
    expect(performance.now() - lastAt).toBeGreaterThan(UNAUTHORIZED_MS_MIN - CLOCK_MS)
  }
})

/** Asks in a shuffled order, so that whatever else the machine does hits all kinds alike, then compares each kind with the first. */
async function expectAlike(kinds: Record<string, () => Promise<Answer>>): Promise<void> {
  const entries = Object.entries(kinds)
  const times = new Map<string, number[]>(entries.map(([kind]) => [kind, []]))
  let first: unknown
  const sample = async ([kind, one]: [string, () => Promise<Answer>]) => {
    const begun = performance.now()
    const answer = await one()
    times.get(kind)?.push(performance.now() - begun)
    const seen = {
      status: answer.status,
      body: answer.body,
      headers: [...answer.headers].filter(([name]) => name !== 'date'),
      names: [...answer.headers.keys()],
    }
    first ??= seen
    expect(seen.status).toBe(401)
    expect(seen, kind).toEqual(first)
  }
  const waiting = shuffled(random, Array.from({ length: SAMPLES }, () => entries).flat())
  const askOn = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) await sample(next)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, askOn))
  const [, known = []] = [...times][0] ?? []
  for (const [kind, taken] of times) {
    console.info(`${kind}: median ${median(taken).toFixed(1)} ms, AUC ${auc(known, taken).toFixed(3)}`)
    expect.soft(Math.abs(auc(known, taken) - 0.5), kind).toBeLessThan(AUC_BAND)
    // And none of them leaves before its time.
    expect.soft(Math.min(...taken), kind).toBeGreaterThan(UNAUTHORIZED_MS_MIN - CLOCK_MS)
  }
}

/** How likely it is that one of `b` took longer than one of `a`: 0.5 when nothing tells them apart. */
function auc(a: readonly number[], b: readonly number[]): number {
  const greater = b.reduce((sum, y) => sum + a.reduce((n, x) => n + (y > x ? 1 : y === x ? 0.5 : 0), 0), 0)
  return greater / (a.length * b.length)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}
