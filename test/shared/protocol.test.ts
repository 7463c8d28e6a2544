import { expect, test } from 'vitest'
import { FRAME_BYTES_MAX, HOOK_BODY_BYTES_MAX, TOKENS_REVOKED_MAX } from '../../shared/limits.ts'
import {
  CLOSE,
  decodeFrame,
  encodeFrame,
  fromAgentSchema,
  fromHubSchema,
  toBase64,
  type FromAgent,
  type FromHub,
  type Hello,
} from '../../shared/protocol.ts'
import { V1, V1A } from './vectors.ts'

const ID = '0123456789abcdef'
const HELLO: Hello = {
  type: 'hello',
  v: 1,
  agent: '0.1.0',
  stacks: ['hello'],
  triggers: [
    { type: 'standard-webhooks', stack: 'hello', name: 'a', ttlMs: 1, keys: [V1.secret, V1.secret] },
    { type: 'standard-webhooks-v1a', stack: 'hello', name: 'b', ttlMs: 1, keys: [V1A.publicKey] },
    { type: 'url', stack: 'hello', name: 'c', ttlMs: 1, keys: ['a'.repeat(64)] },
  ],
  revoked: ['jti-1'],
}
const problem = { code: 'request-unverified', message: 'x' } as const
const trigger = { type: 'brewed', stack: 'hello', name: 'd', ttlMs: 1 }
const deploy = (proof: Extract<FromHub, { type: 'deploy' }>['proof']): FromHub => ({
  type: 'deploy',
  id: ID,
  stack: 'hello',
  trigger: 'deploy',
  acceptedAt: 5,
  proof,
})

test.each<[string, FromAgent]>([
  ['hello', HELLO],
  ['events', { type: 'events', deploy: ID, events: [{ seq: 1, at: 5, event: { type: 'received' } }] }],
  ['declined', { type: 'declined', deploy: ID, event: { type: 'failed', ms: 0, problem } }],
  ['declined', { type: 'declined', deploy: ID, event: { type: 'superseded', by: ID } }],
  ['declined', { type: 'declined', deploy: ID, event: { type: 'expired' } }],
])('the agent’s frame %s comes through as it was', (_, frame) => {
  expect(decodeFrame(fromAgentSchema, encodeFrame(frame))).toEqual({ ok: true, frame })
  // What only the other side sends is as good as unknown.
  expect(decodeFrame(fromHubSchema, encodeFrame(frame))).toEqual({ ok: true, frame: { type: frame.type } })
})

test.each<[string, FromHub]>([
  ['welcome', { type: 'welcome', v: 1, generation: 7, at: 5 }],
  ['deploy, by hook', deploy({ kind: 'hook', headers: { 'webhook-id': 'x' }, body: 'e30=' })],
  ['deploy, by token', deploy({ kind: 'token', token: 'x', idempotencyKey: 'k', body: '' })],
  ['deploy, by hint', deploy({ kind: 'hint', nonce: '0'.repeat(32) })],
  ['deploy, once more', { ...deploy({ kind: 'hint', nonce: '0'.repeat(32) }), received: true } as FromHub],
  ['cancel', { type: 'cancel', deploy: ID, proof: { token: 'x', body: 'e30=' } }],
  ['stored', { type: 'stored', deploy: ID, seq: 3 }],
])('the hub’s frame %s comes through as it was', (_, frame) => {
  expect(decodeFrame(fromHubSchema, encodeFrame(frame))).toEqual({ ok: true, frame })
  expect(decodeFrame(fromAgentSchema, encodeFrame(frame))).toEqual({ ok: true, frame: { type: frame.type } })
})

test('an agent that knows of no revoked tokens has none', () => {
  const { revoked: _, ...older } = HELLO
  expect(decodeFrame(fromAgentSchema, JSON.stringify(older))).toEqual({
    ok: true,
    frame: { ...HELLO, revoked: [] },
  })
})

test('fields that we do not know are ignored: a newer neighbour has more', () => {
  const text = JSON.stringify({ ...deploy({ kind: 'hint', nonce: '0'.repeat(32) }), colour: 'blue' })
  expect(decodeFrame(fromHubSchema, text)).toEqual({
    ok: true,
    frame: deploy({ kind: 'hint', nonce: '0'.repeat(32) }),
  })
})

test.each<[string, object]>([
  ['no type', { id: ID }],
  ['a type that is no word', { type: 'Brew coffee' }],
  ['a hint without a nonce', { ...deploy({ kind: 'hint', nonce: '' }) }],
  ['a hint with a nonce in upper case', { ...deploy({ kind: 'hint', nonce: 'A'.repeat(32) }) }],
  ['a body that is not base64', { ...deploy({ kind: 'hook', headers: {}, body: 'e30' }) }],
  ['an idempotency key with a space', deploy({ kind: 'token', token: 'x', idempotencyKey: ' ', body: '' })],
  ['another kind of proof', { ...deploy({ kind: 'hint', nonce: '' }), proof: { kind: '' } }],
])('from the hub: %s is malformed', (_, frame) => {
  expect(decodeFrame(fromHubSchema, JSON.stringify(frame))).toMatchObject({ close: CLOSE.malformed })
})

test.each<[string, object]>([
  ['no events', { type: 'events', deploy: ID, events: [] }],
  ['an event without a type', events({ text: 'x' })],
  ['an end that is malformed', events({ type: 'failed', ms: 1 })],
  ['a step that is malformed', events({ type: 'undoing', steps: [{ kind: 'drain' }] })],
  ['a trigger without a name', { ...HELLO, triggers: [{ type: 'brewed', stack: 'hello', ttlMs: 1 }] }],
  ['a trigger with a bad key', { ...HELLO, triggers: [{ ...trigger, type: 'url', keys: ['x'] }] }],
  ['an event of the hub', { type: 'events', deploy: ID, events: [logged({ type: 'gap', from: 1, to: 2 })] }],
  ['a place of 0', { type: 'events', deploy: ID, events: [{ seq: 0, at: 1, event: { type: 'received' } }] }],
  ['a decline that is no end', { type: 'declined', deploy: ID, event: { type: 'received' } }],
  ['another id', { type: 'declined', deploy: 'x', event: { type: 'expired' } }],
  ['too many revoked', { ...HELLO, revoked: Array(TOKENS_REVOKED_MAX + 1).fill('x') }],
])('from the agent: %s is malformed', (_, frame) => {
  expect(decodeFrame(fromAgentSchema, JSON.stringify(frame))).toMatchObject({ close: CLOSE.malformed })
})

const stuck = { type: 'stuck', ms: 1, problem: { code: 'newer', message: 'x' }, undo: problem }

test.each<[string, unknown, object]>([
  ['a type of event', 'agent', events({ type: 'newer', text: 'x', more: [1] })],
  ['a kind of step', 'agent', events({ type: 'undoing', steps: [{ kind: 'newer', text: 'x', more: 1 }] })],
  [
    'a moment of a command',
    'agent',
    events({ type: 'undoing', steps: [{ kind: 'command', when: 'newer', service: 'a', command: [] }] }),
  ],
  ['a way to recover', 'agent', events({ type: 'recovering', way: 'newer' })],
  ['a problem’s code', 'agent', events(stuck)],
  ['a decline by an unknown event', 'agent', { type: 'declined', deploy: ID, event: { type: 'newer' } }],
  ['a type of trigger', 'agent', { ...HELLO, triggers: [...HELLO.triggers, trigger] }],
  ['a type of chat', 'agent', { ...HELLO, chats: [{ type: 'brewed', name: 'c' }] }],
  ['a kind of proof', 'hub', { ...deploy({ kind: 'hint', nonce: '' }), proof: { kind: 'newer', more: 1 } }],
])('%s that is not known comes through as it was', (_, from, frame) => {
  const schema = from === 'agent' ? fromAgentSchema : fromHubSchema
  expect(decodeFrame(schema, JSON.stringify(frame))).toEqual({ ok: true, frame })
})

function events(event: object): object {
  return { type: 'events', deploy: ID, events: [logged(event)] }
}

test('nothing is kept of what an unknown trigger or chat is verified by', () => {
  const secret = { keys: ['secret'] }
  const hello = {
    ...HELLO,
    triggers: [{ ...trigger, ...secret }],
    chats: [{ type: 'brewed', name: 'c', ...secret }],
  }
  expect(JSON.stringify(decodeFrame(fromAgentSchema, JSON.stringify(hello)))).not.toContain('secret')
})

function logged(event: object): object {
  return { seq: 1, at: 1, event }
}

test('a binary frame is malformed', () => {
  expect(decodeFrame(fromHubSchema, new ArrayBuffer(8))).toMatchObject({ close: CLOSE.malformed })
})

const framed = (padding: string) => `{"type":"welcome","v":1,"generation":1,"at":1,"pad":"${padding}"}`

test.each(['x', 'é', '日', '😀'])('a frame is measured in bytes, of %s too', (char) => {
  const room = FRAME_BYTES_MAX - framed('').length
  const full = char.repeat(Math.floor(room / Buffer.byteLength(char)))
  const exact = framed(full + 'x'.repeat(room - Buffer.byteLength(full)))
  expect(Buffer.byteLength(exact)).toBe(FRAME_BYTES_MAX)
  expect(decodeFrame(fromHubSchema, exact)).toMatchObject({ ok: true })
  expect(decodeFrame(fromHubSchema, `${exact} `)).toMatchObject({ ok: false, close: CLOSE.tooBig })
})

test('the largest request that the relay takes fits into a frame, by hook and by token', () => {
  const body = toBase64(new Uint8Array(HOOK_BODY_BYTES_MAX))
  const headers = {
    'webhook-id': 'x'.repeat(128),
    'webhook-timestamp': '1614265330',
    'webhook-signature': Array(5).fill(V1A.signature).join(' '),
  }
  const frames = [
    deploy({ kind: 'hook', headers, body }),
    // 8192: TOKEN_CHARS_MAX of worker/app.ts.
    deploy({ kind: 'token', token: 'x'.repeat(8192), idempotencyKey: 'x'.repeat(128), body }),
  ]
  for (const frame of frames) expect(decodeFrame(fromHubSchema, encodeFrame(frame)).ok).toBe(true)
})
