// A relay that speaks the protocol perfectly and lies. It has seen real requests, and keeps, changes, repeats, reorders and forges them.
// Only what was signed runs, each of it once, and none after what was signed later.

import { mkdtemp, rm } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadOrCreateKey, type HostKey } from '../../agent/identity/identity.ts'
import { deployId } from '../../shared/deploy-id.ts'
import { FRAME_BYTES_MAX, REQUEST_TTL_MS, SIGNATURE_AGE_SECONDS_MAX } from '../../shared/limits.ts'
import { CLOSE, toBase64, type CancelFrame, type DeployFrame } from '../../shared/protocol.ts'
import {
  HOST,
  OTHER_SECRET,
  PRIVATE_KEY,
  PUBLIC_KEY,
  cancelFrame,
  hintFrame,
  hookFrame,
  tokenFrame,
  type CancelParts,
  type HookParts,
  type TokenParts,
} from '../support/host.ts'
import { startHub, type Hub } from '../support/hub.ts'
import { until } from '../support/until.ts'
import { makeWorld, type World } from './world.ts'

const ROLL_MS_MAX = 20_000
const EXPIRED_SECONDS = REQUEST_TTL_MS / 1000 + SIGNATURE_AGE_SECONDS_MAX + 60

let hub: Hub
let world: World
let key: HostKey
let strangersKey: HostKey
/** The names of the requests that were signed and must run, in order. */
const honest: string[] = []
let before = { rolls: 0, honest: 0 }
const atEnd: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  hub = await startHub()
  world = await makeWorld(
    { onTestFailed: () => {}, onTestFinished: (end) => void atEnd.push(async () => end({} as never)) },
    {
      relayUrl: hub.url,
      stacks: ['hello', 'other'],
      triggers: (stack) =>
        stack === 'hello'
          ? {
              pinned: { type: 'standard-webhooks-v1a', publicKey: PUBLIC_KEY },
              second: { type: 'standard-webhooks', secret: { env: 'SECOND' } },
              door: { type: 'url', secret: { env: 'DOOR' } },
            }
          : {},
      env: { SECOND: OTHER_SECRET, DOOR: 'the-secret-of-the-address-01' },
      timing: { waitMsMax: 50 },
    },
  )
  key = await loadOrCreateKey(world.agentData)
  const elsewhere = await mkdtemp('/tmp/ropeway-stranger-')
  strangersKey = await loadOrCreateKey(elsewhere)
  await rm(elsewhere, { recursive: true })
  await world.startAgent()
})

beforeEach(() => {
  before = { rolls: world.rolls().length, honest: honest.length }
})

afterAll(async () => {
  for (const end of atEnd) await end()
  await hub.stop()
})

const now = () => Math.floor(Date.now() / 1000)
const bodyFor = (name: string) => JSON.stringify({ reason: name })
let count = 0

/** A request that its sender signed, as a relay gets to see it. */
function seen(parts: HookParts & { name?: string } = {}): Promise<DeployFrame> {
  const name = parts.name ?? `evil-${(count += 1)}`
  const stack = parts.stack ?? 'hello'
  const secret = world.secrets.get(stack) ?? ''
  return hookFrame({ stack, secret, eventId: name, body: bodyFor(name), ...parts })
}

/** The same for one that was asked for with a token of this host. */
function asked(parts: Partial<TokenParts> = {}, by = key): Promise<DeployFrame> {
  const text = bodyFor(`evil-${(count += 1)}`)
  return tokenFrame(by, { relay: hub.url, body: text, boundTo: text, ...parts })
}

function withProof(frame: DeployFrame, change: (proof: DeployFrame['proof']) => object): DeployFrame {
  return { ...frame, proof: { ...frame.proof, ...change(frame.proof) } as DeployFrame['proof'] }
}

function withHeaders(frame: DeployFrame, change: Record<string, string>): DeployFrame {
  return withProof(frame, (proof) => ({
    headers: { ...(proof.kind === 'hook' ? proof.headers : {}), ...change },
  }))
}

function encodedBody(name: string): string {
  return toBase64(new TextEncoder().encode(bodyFor(name)))
}

/** Signed, delivered, and run to its end: by then everything that was delivered before it has been judged. */
async function runHonest(parts: HookParts = {}): Promise<DeployFrame> {
  const name = `honest-${honest.length}`
  const frame = await seen({ name, ...parts })
  honest.push(name)
  hub.deliver(frame)
  await until(`${name} runs`, () => hub.types(frame.id).includes('succeeded'), ROLL_MS_MAX)
  return frame
}

function expectHonestRollsOnly(): void {
  const lately = honest.slice(before.honest).flatMap((name) => [`start ${name}`, `end ${name}`])
  expect(world.rolls().slice(before.rolls)).toEqual(lately)
}

interface Lie {
  readonly what: string
  readonly frame: () => Promise<DeployFrame>
  /** The problem's code, or the event, that the agent answers with. */
  readonly answer: string
}
const UNVERIFIED = 'request-unverified'

const LIES: readonly Lie[] = [
  // Forged.
  {
    what: 'a signature that was made up',
    frame: async () =>
      withHeaders(await seen(), { 'webhook-signature': `v1,${toBase64(new Uint8Array(32).fill(7))}` }),
    answer: UNVERIFIED,
  },
  {
    what: 'no signature at all',
    frame: async () => withProof(await seen(), () => ({ headers: {} })),
    answer: UNVERIFIED,
  },
  { what: 'one signed with another secret', frame: () => seen({ secret: OTHER_SECRET }), answer: UNVERIFIED },
  {
    what: 'one signed with the public key as if it were a secret',
    frame: () => seen({ trigger: 'pinned', secret: PUBLIC_KEY.replace('whpk_', 'whsec_') }),
    answer: UNVERIFIED,
  },
  {
    what: 'one signed with the secret for a trigger whose sender has a private key',
    frame: () => seen({ trigger: 'pinned' }),
    answer: UNVERIFIED,
  },
  { what: 'a token of another key', frame: () => asked({}, strangersKey), answer: UNVERIFIED },
  {
    what: 'a token for another relay',
    frame: () => asked({ relay: 'https://elsewhere.example' }),
    answer: UNVERIFIED,
  },
  { what: 'a token that only reads', frame: () => asked({ scopes: ['read'] }), answer: UNVERIFIED },
  { what: 'a token for another stack', frame: () => asked({ stacks: ['other'] }), answer: UNVERIFIED },
  {
    what: 'the token that the agent itself dialled with',
    frame: async () => withProof(await asked(), () => ({ token: hub.tokens.at(-1) })),
    answer: UNVERIFIED,
  },
  {
    what: 'a token without a signature',
    frame: async () =>
      withProof(await asked(), (proof) => {
        const [, payload] = proof.kind === 'token' ? proof.token.split('.') : []
        return { token: `${btoa('{"alg":"none","typ":"ropeway+jwt"}').replace(/=+$/, '')}.${payload}.` }
      }),
    answer: UNVERIFIED,
  },
  // Altered.
  {
    what: 'another body',
    frame: async () => withProof(await seen(), () => ({ body: encodedBody('evil-body') })),
    answer: UNVERIFIED,
  },
  {
    what: 'another body for a token that is bound to one',
    frame: async () => withProof(await asked(), () => ({ body: encodedBody('evil-body') })),
    answer: UNVERIFIED,
  },
  {
    what: 'another time',
    frame: async () => withHeaders(await seen(), { 'webhook-timestamp': String(now() - 1) }),
    answer: UNVERIFIED,
  },
  {
    what: 'another webhook-id, and the deploy’s id that belongs to it',
    frame: async () => ({
      ...withHeaders(await seen(), { 'webhook-id': 'evil-id' }),
      id: await deployId(HOST, 'hello', 'deploy', 'evil-id'),
    }),
    answer: UNVERIFIED,
  },
  { what: 'another stack', frame: async () => ({ ...(await seen()), stack: 'other' }), answer: UNVERIFIED },
  {
    what: 'a stack that there is not',
    frame: async () => ({ ...(await seen()), stack: 'nowhere' }),
    answer: 'stack-unknown',
  },
  {
    what: 'another stack, and the deploy’s id that belongs to it',
    frame: async () => ({
      ...(await seen({ name: 'evil-elsewhere' })),
      stack: 'other',
      id: await deployId(HOST, 'other', 'deploy', 'evil-elsewhere'),
    }),
    answer: UNVERIFIED,
  },
  {
    what: 'another trigger, and the deploy’s id that belongs to it',
    frame: async () => ({
      ...(await seen({ name: 'evil-second' })),
      trigger: 'second',
      id: await deployId(HOST, 'hello', 'second', 'evil-second'),
    }),
    answer: UNVERIFIED,
  },
  {
    what: 'a trigger that there is not',
    frame: async () => ({ ...(await seen()), trigger: 'third' }),
    answer: UNVERIFIED,
  },
  {
    what: 'another id',
    frame: async () => ({ ...(await seen()), id: '0123456789abcdef' }),
    answer: UNVERIFIED,
  },
  {
    what: 'another idempotency key for a token',
    frame: async () =>
      withProof(await asked({ boundTo: undefined } as never), () => ({ idempotencyKey: 'once-more' })),
    answer: UNVERIFIED,
  },
  {
    what: 'a rollback made of a deploy by a token that may deploy anything',
    frame: () => asked({ body: '{"release":"previous","reason":"evil"}', boundTo: undefined } as never),
    answer: UNVERIFIED,
  },
  {
    what: 'a rollback in the place of the deploy that a token is bound to',
    frame: async () =>
      withProof(await asked({ scopes: ['deploy', 'rollback'] }), () => ({
        body: toBase64(new TextEncoder().encode('{"release":"previous","reason":"evil"}')),
      })),
    answer: UNVERIFIED,
  },
  {
    what: 'a deploy made of a rollback by a token that may roll back',
    frame: () => asked({ scopes: ['rollback'], boundTo: undefined } as never),
    answer: UNVERIFIED,
  },
  {
    what: 'a cancel’s token and body in the place of a deploy’s',
    frame: () => {
      const text = '{"cancel":"0123456789abcdef"}'
      return asked({ body: text, boundTo: text })
    },
    answer: 'request-invalid',
  },
  // What is no proof of that kind.
  {
    what: 'a hint in the place of a signature',
    frame: () => hintFrame('evil', 'deploy'),
    answer: UNVERIFIED,
  },
  {
    what: 'a signed request in the place of a hint',
    frame: async () => ({
      ...(await seen({ name: 'evil-door' })),
      trigger: 'door',
      id: await deployId(HOST, 'hello', 'door', 'evil-door'),
    }),
    answer: UNVERIFIED,
  },
  {
    what: 'a hint under an id that it does not make',
    frame: async () => ({ ...(await hintFrame('evil', 'door')), id: '0123456789abcdef' }),
    answer: UNVERIFIED,
  },
  // Kept back.
  {
    what: 'one that was kept until it had expired',
    frame: () => seen({ atSeconds: now() - EXPIRED_SECONDS }),
    answer: 'expired',
  },
  {
    what: 'one that was signed after one that has run',
    frame: () => seen({ atSeconds: now() - 60 }),
    answer: 'superseded',
  },
  { what: 'one from the future', frame: () => seen({ atSeconds: now() + 600 }), answer: 'request-stale' },
  {
    what: 'a token that was bound to its body before one that has run',
    frame: async () => {
      const text = bodyFor('evil-late')
      return tokenFrame(key, {
        relay: hub.url,
        body: text,
        boundTo: text,
        now: new Date(Date.now() - 60_000),
      })
    },
    answer: 'superseded',
  },
  {
    what: 'one that the agent never had, as if it had it',
    frame: async () => ({ ...(await seen()), received: true }),
    answer: 'interrupted',
  },
  {
    what: 'a hook that names a release',
    frame: () => seen({ body: '{"release":"previous","reason":"evil"}' }),
    answer: 'request-invalid',
  },
  {
    what: 'one that makes no sense',
    frame: () => seen({ body: '{"reason":"evil","reason":"evil"}' }),
    answer: 'request-invalid',
  },
]

describe('what a relay delivers', () => {
  test('what was signed runs', async () => {
    await runHonest()
    await runHonest({ trigger: 'pinned', secret: PRIVATE_KEY })
    const frame = await asked({ body: bodyFor('honest-2'), boundTo: bodyFor('honest-2') })
    hub.deliver(frame)
    honest.push('honest-2')
    await until('it runs', () => hub.types(frame.id).includes('succeeded'), ROLL_MS_MAX)
    expectHonestRollsOnly()
  })

  test.for(LIES)('$what is declined, and does not run', async ({ frame: lie, answer }) => {
    const frame = await lie()
    const declined = hub.declined.length
    hub.deliver(frame)
    await runHonest()
    expectHonestRollsOnly()
    const said = hub.declined
      .slice(declined)
      .map(({ deploy, event }) => [deploy, event.type === 'failed' ? event.problem.code : event.type])
    expect(said).toEqual([[frame.id, answer]])
  })

  test('one that has run is not run again: not at once, under another id, or in a hundred copies', async () => {
    const frame = await runHonest()
    const declined = hub.declined.length
    for (let n = 0; n < 100; n += 1) hub.deliver(frame)
    hub.deliver({ ...frame, id: '0123456789abcdef' })
    hub.deliver({ ...frame, acceptedAt: 0 })
    await runHonest()
    const hellos = hub.hellos.length
    hub.drop()
    await until('the agent is back', () => hub.sockets.size === 1 && hub.hellos.length > hellos)
    hub.deliver(frame)
    await runHonest()
    expectHonestRollsOnly()
    expect(hub.declined.slice(declined).map(({ deploy }) => deploy)).toEqual(['0123456789abcdef'])
  })
})

/** A roll in its middle; `letGo` lets it come to its end. */
async function inTheMiddle() {
  const name = `honest-${honest.length}`
  const letGo = world.hold(name)
  const frame = await seen({ name })
  hub.deliver(frame)
  await until('the roll is in its middle', () => world.rolls().includes(`start ${name}`))
  return { name, frame, letGo }
}

describe('what a relay cancels', () => {
  test('is nothing that nobody has cancelled: the roll goes on to its end', async () => {
    const { name, frame, letGo } = await inTheMiddle()
    honest.push(name)
    const { id } = frame
    const forged = (parts: Partial<CancelParts> = {}, by = key) =>
      cancelFrame(by, { relay: hub.url, deploy: id, ...parts })
    const another = await forged({ deploy: '0123456789abcdef' })
    const boundDeploy = await asked()
    const lies: CancelFrame[] = [
      await forged({}, strangersKey),
      await forged({ relay: 'https://elsewhere.example' }),
      await forged({ scopes: ['read'] }),
      await forged({ scopes: ['rollback'] }),
      await forged({ stacks: ['other'] }),
      await forged({ now: new Date(Date.now() - 3_600_000) }),
      await forged({ body: '{}' }),
      { ...another, deploy: id },
      {
        ...another,
        deploy: id,
        proof: { ...another.proof, body: toBase64(new TextEncoder().encode(`{"cancel":"${id}"}`)) },
      },
      { type: 'cancel', deploy: id, proof: { token: hub.tokens.at(-1) ?? '', body: '' } },
      {
        type: 'cancel',
        deploy: id,
        proof: {
          token: boundDeploy.proof.kind === 'token' ? boundDeploy.proof.token : '',
          body: toBase64(new TextEncoder().encode(`{"cancel":"${id}"}`)),
        },
      },
      another,
    ]
    for (const lie of lies) hub.send(lie)
    for (let n = 0; n < 200; n += 1) hub.send(lies[n % lies.length] as CancelFrame)
    letGo()
    await until('it comes to its end', () => hub.types(id).includes('succeeded'), ROLL_MS_MAX)
    await runHonest()
    expectHonestRollsOnly()
  })

  test('is what was cancelled, and a second time nothing', async () => {
    const { name, frame, letGo } = await inTheMiddle()
    const cancelling = await cancelFrame(key, { relay: hub.url, deploy: frame.id })
    hub.send(cancelling)
    await until('it is cancelled', () => hub.types(frame.id).includes('cancelled'), ROLL_MS_MAX)
    letGo()
    expect(world.rolls().slice(before.rolls)).toEqual([`start ${name}`, `stop ${name}`])
    honest.push(name)
    before = { rolls: world.rolls().length, honest: honest.length }
    hub.send(cancelling)
    await runHonest()
    expectHonestRollsOnly()
    expect(hub.types(frame.id).filter((type) => type === 'cancelled')).toHaveLength(1)
  })
})

describe('what a relay says beside that', () => {
  test('that it has stored what it has not does not make the agent forget what comes later', async () => {
    const name = `honest-${honest.length}`
    const letGo = world.hold(name)
    const frame = await seen({ name })
    hub.deliver(frame)
    honest.push(name)
    await until('the roll is in its middle', () => world.rolls().includes(`start ${name}`))
    for (const seq of [1000, -1, 0, 2 ** 53 - 1]) hub.send({ type: 'stored', deploy: frame.id, seq })
    for (const deploy of ['0123456789abcdef', '0000000000000000'])
      hub.send({ type: 'stored', deploy, seq: 5 })
    letGo()
    await until('its events come to the end', () => hub.types(frame.id).includes('succeeded'), ROLL_MS_MAX)
    expect(hub.log(frame.id).map(({ seq }) => seq)).toEqual(hub.log(frame.id).map((_, index) => index + 1))
    await runHonest()
    expectHonestRollsOnly()
  })

  test('welcomes without end, of any version and time, change nothing', async () => {
    for (const v of [1, 99, -1]) hub.send({ type: 'welcome', v, generation: -1, at: 0 })
    await runHonest()
    expectHonestRollsOnly()
    expect(world.agent.lines.join('\n')).toMatch(/clock is \d+ s behind/)
  })

  test.for<{ what: string; text: () => string | Buffer; code: number }>([
    {
      what: 'a frame with one byte too many',
      text: () => 'x'.repeat(FRAME_BYTES_MAX + 1),
      code: CLOSE.tooBig,
    },
    {
      what: 'JSON as deep as a frame can be',
      text: () => '['.repeat(FRAME_BYTES_MAX),
      code: CLOSE.malformed,
    },
    {
      what: 'well-formed JSON as deep as a frame can be',
      text: () => `{"type":"welcome","v":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
      code: CLOSE.malformed,
    },
    { what: 'a binary frame', text: () => Buffer.from('{"type":"stored"}'), code: CLOSE.malformed },
    { what: 'no JSON', text: () => 'hello', code: CLOSE.malformed },
    {
      what: 'a type that is no word',
      text: () => '{"type":"run it","command":"reboot"}',
      code: CLOSE.malformed,
    },
    {
      what: 'a deploy without a proof',
      text: () => '{"type":"deploy","id":"0123456789abcdef"}',
      code: CLOSE.malformed,
    },
    {
      what: 'a cancel without a proof',
      text: () => '{"type":"cancel","deploy":"0123456789abcdef"}',
      code: CLOSE.malformed,
    },
    {
      what: 'a cancel of no deploy',
      text: () => '{"type":"cancel","deploy":"*","proof":{"token":"x","body":""}}',
      code: CLOSE.malformed,
    },
    {
      what: 'a proof without a kind',
      text: () =>
        '{"type":"deploy","id":"0123456789abcdef","stack":"hello","trigger":"deploy","acceptedAt":1,"proof":{}}',
      code: CLOSE.malformed,
    },
  ])('$what closes the connection with $code, and the next one works', async ({ text, code }) => {
    const [socket] = hub.sockets
    const hellos = hub.hellos.length
    let closedWith: number | undefined
    socket?.on('close', (with_) => (closedWith = with_))
    socket?.send(text())
    await until('the agent has closed the connection', () => closedWith)
    await until('and is back', () => hub.hellos.length > hellos && hub.sockets.size === 1)
    await runHonest()
    expect(closedWith).toBe(code)
    expectHonestRollsOnly()
  })

  test('a flood of forged requests does not keep an honest one from running', async () => {
    const forged = await Promise.all(Array.from({ length: 1000 }, () => seen({ secret: OTHER_SECRET })))
    for (const frame of forged) hub.deliver(frame)
    // What the agent could not take is offered again by an honest relay: until it has said something of it.
    const name = `honest-${honest.length}`
    const frame = await seen({ name })
    honest.push(name)
    await until(
      'an honest one runs',
      () => {
        hub.deliver(frame)
        return hub.types(frame.id).includes('succeeded')
      },
      ROLL_MS_MAX,
    )
    expectHonestRollsOnly()
    expect(world.agent.isRunning).toBe(true)
  })
})

test('after a restart of the agent, all of it again changes nothing', async () => {
  const frames = [await runHonest(), await runHonest(), await seen({ atSeconds: now() - 60 })]
  await world.end(world.agent)
  await world.startAgent()
  await until('the agent is back', () => hub.sockets.size === 1)
  for (const frame of frames) hub.deliver(frame)
  for (const { frame } of LIES) hub.deliver(await frame())
  await runHonest()
  expectHonestRollsOnly()
})
