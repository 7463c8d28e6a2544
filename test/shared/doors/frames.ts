// Every frame that an honest agent or hub may send, by hand from the schemas: a schema that forgets a field fails the round trip.

import fc from 'fast-check'
import type { DeclinedEvent, DeployEvent } from '../../../shared/events.ts'
import { TAG_PATTERN } from '../../../shared/image.ts'
import { STEPS_MAX } from '../../../shared/limits.ts'
import type { Step } from '../../../shared/plan.ts'
import { PROBLEMS, type ProblemCode } from '../../../shared/problems.ts'
import {
  toBase64,
  type DeployFrame,
  type FromAgent,
  type FromHub,
  type Proof,
} from '../../../shared/protocol.ts'
import type { Trigger } from '../../../shared/triggers/index.ts'
import { anyText } from './texts.ts'

const from = (chars: string, minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...chars), minLength, maxLength })
const optional = <T extends object>(
  shape: { [K in keyof T]: fc.Arbitrary<T[K]> },
  ...required: (keyof T)[]
) => fc.record(shape, { requiredKeys: required }) as fc.Arbitrary<T>

const LOWER = '0123456789abcdefghijklmnopqrstuvwxyz'
export const anyName = fc
  .tuple(from(LOWER, 1, 1), from(`${LOWER}-`, 0, 62))
  .map(([first, rest]) => first + rest)
export const anyDeployId = from('0123456789abcdefghjkmnpqrstvwxyz', 16, 16)
const hex = (length: number) => from('0123456789abcdef', length, length)
const anyBase64 = fc.uint8Array({ maxLength: 64 }).map(toBase64)
// JSON has no -0 and nothing beyond its range.
const anyNumber = fc
  .double({ noNaN: true, noDefaultInfinity: true })
  .map((value) => (Object.is(value, -0) ? 0 : value))
const anyCount = fc.integer({ min: 1, max: 2 ** 31 })
const safeKey = anyText.filter((key) => key !== '__proto__')

const secret = fc
  .uint8Array({ minLength: 24, maxLength: 64 })
  .filter((bytes) => bytes.some((byte) => byte !== bytes[0]))
  .map((bytes) => `whsec_${toBase64(bytes)}`)
const publicKey = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .filter((bytes) => bytes.some((byte) => byte !== bytes[0]))
  .map((bytes) => `whpk_${toBase64(bytes)}`)
const triggerOf = <T extends Trigger['type']>(type: T, key: fc.Arbitrary<string>) =>
  fc.record({
    type: fc.constant(type),
    stack: anyName,
    name: anyName,
    ttlMs: fc.integer({ min: 1, max: 7 * 24 * 3600_000 }),
    keys: fc.array(key, { minLength: 1, maxLength: 2 }),
  })
export const anyTrigger: fc.Arbitrary<Trigger> = fc.oneof(
  triggerOf('standard-webhooks', secret),
  triggerOf('standard-webhooks-v1a', publicKey),
  triggerOf('url', hex(64)),
)

const version = optional<{ image?: string; env: Record<string, string | null> }>(
  { image: anyText, env: fc.dictionary(safeKey, fc.option(anyText), { maxKeys: 3 }) },
  'env',
)
const stepOf = <K extends Step['kind'], S extends object>(kind: K, shape: S) =>
  fc.record({ kind: fc.constant(kind), ...shape })
const anyStep = fc.oneof(
  stepOf('pull', { image: anyText }),
  optional<{ kind: 'switch'; out?: string; back?: string }>(
    { kind: fc.constant('switch'), out: anyText, back: anyText },
    'kind',
  ),
  stepOf('drain', { service: anyText }),
  stepOf('update', { service: anyText, from: version, to: version, undo: fc.boolean() }),
  stepOf('await-healthy', { service: anyText }),
  stepOf('soak', { service: anyText, ms: anyNumber }),
  stepOf('verify', {}),
) as fc.Arbitrary<Step>

const problemCode = fc.constantFrom(...(Object.keys(PROBLEMS) as ProblemCode[]))
const anyProblem = optional<{ code: ProblemCode; message: string; cure?: string; log?: string[] }>(
  { code: problemCode, message: anyText, cure: anyText, log: fc.array(anyText, { maxLength: 3 }) },
  'code',
  'message',
)
const warning = optional<{ code: string; message: string; cure?: string }>(
  { code: anyText, message: anyText, cure: anyText },
  'code',
  'message',
)
const facts = fc.dictionary(safeKey, fc.oneof(anyText, anyNumber, fc.boolean()), { maxKeys: 3 })

const eventOf = <T extends DeployEvent['type'], S extends object>(type: T, shape: S) =>
  fc.record({ type: fc.constant(type), ...shape })
export const anyDeclinedEvent: fc.Arbitrary<DeclinedEvent> = fc.oneof(
  eventOf('failed', { ms: anyNumber, problem: anyProblem }),
  eventOf('superseded', { by: anyText }),
  eventOf('expired', {}),
) as fc.Arbitrary<DeclinedEvent>
export type AgentEvent = Exclude<DeployEvent, { type: 'accepted' | 'gap' }>
export const anyAgentEvent = fc.oneof(
  anyDeclinedEvent,
  eventOf('received', {}),
  eventOf('started', {}),
  eventOf('warning', { problem: warning }),
  eventOf('planned', {
    plan: fc.record({
      stack: anyText,
      upstream: anyText,
      instances: fc.array(anyText, { maxLength: 3 }),
      steps: fc.array(anyStep, { maxLength: 4 }),
    }),
  }),
  eventOf('step-started', { step: anyNumber }),
  eventOf('step-progress', { step: anyNumber, facts }),
  eventOf('step-finished', { step: anyNumber, ms: anyNumber, facts }),
  eventOf('step-failed', { step: anyNumber, ms: anyNumber, problem: anyProblem }),
  eventOf('recovering', { way: fc.constantFrom('again', 'forward', 'back' as const) }),
  optional<{ type: 'resuming'; steps: Step[]; from?: number }>(
    { type: fc.constant('resuming'), steps: fc.array(anyStep, { maxLength: 3 }), from: fc.nat(STEPS_MAX) },
    'type',
    'steps',
  ),
  optional<{ type: 'undoing'; steps: Step[]; from?: number }>(
    { type: fc.constant('undoing'), steps: fc.array(anyStep, { maxLength: 3 }), from: fc.nat(STEPS_MAX) },
    'type',
    'steps',
  ),
  optional<Extract<DeployEvent, { type: 'succeeded' }>>(
    {
      type: fc.constant('succeeded'),
      ms: anyNumber,
      changed: fc.boolean(),
      services: fc.dictionary(safeKey, anyText, { maxKeys: 3 }),
      release: anyNumber,
      of: anyNumber,
    },
    'type',
    'ms',
    'changed',
    'services',
  ),
  eventOf('stuck', { ms: anyNumber, problem: anyProblem, undo: anyProblem }),
  optional<Extract<DeployEvent, { type: 'cancelled' }>>(
    { type: fc.constant('cancelled'), ms: anyNumber, by: anyText },
    'type',
  ),
) as fc.Arbitrary<AgentEvent>
export const anyEvent = fc.oneof(
  { weight: 6, arbitrary: anyAgentEvent },
  eventOf('gap', { from: anyNumber, to: anyNumber }),
  eventOf('accepted', {
    stack: anyText,
    trigger: anyText,
    actor: anyText,
    trust: fc.constantFrom('signed', 'hint' as const),
  }),
) as fc.Arbitrary<DeployEvent>

export const anyHello = fc.record({
  type: fc.constant('hello' as const),
  v: fc.integer(),
  agent: fc.string({ maxLength: 64 }),
  stacks: fc.array(anyName, { maxLength: 4 }),
  triggers: fc.array(anyTrigger, { maxLength: 4 }),
  revoked: fc.array(fc.string({ maxLength: 64 }), { maxLength: 4 }),
})
export const anyFrameFromAgent: fc.Arbitrary<FromAgent> = fc.oneof(
  anyHello,
  fc.record({
    type: fc.constant('events' as const),
    deploy: anyDeployId,
    events: fc.array(fc.record({ seq: anyCount, at: anyNumber, event: anyAgentEvent }), {
      minLength: 1,
      maxLength: 4,
    }),
  }),
  fc.record({ type: fc.constant('declined' as const), deploy: anyDeployId, event: anyDeclinedEvent }),
)

const anyProof: fc.Arbitrary<Proof> = fc.oneof(
  fc.record({
    kind: fc.constant('hook' as const),
    headers: fc.dictionary(safeKey, anyText, { maxKeys: 4 }),
    body: anyBase64,
  }),
  fc.record({
    kind: fc.constant('token' as const),
    token: anyText,
    idempotencyKey: from('abcXYZ019_-', 1, 128),
    body: anyBase64,
  }),
  fc.record({ kind: fc.constant('hint' as const), nonce: hex(32) }),
  optional<Extract<Proof, { kind: 'chat' }>>(
    {
      kind: fc.constant('chat'),
      headers: fc.dictionary(safeKey, anyText, { maxKeys: 4 }),
      body: anyBase64,
      approval: fc.record({ headers: fc.dictionary(safeKey, anyText, { maxKeys: 4 }), body: anyBase64 }),
    },
    'kind',
    'headers',
    'body',
  ),
  optional<Extract<Proof, { kind: 'push' }>>(
    {
      kind: fc.constant('push'),
      nonce: hex(32),
      tag: fc.stringMatching(TAG_PATTERN),
      at: fc.integer({ min: 1, max: 8.64e15 }),
    },
    'kind',
    'nonce',
    'tag',
  ),
)
export const anyFrameFromHub: fc.Arbitrary<FromHub> = fc.oneof(
  fc.record({
    type: fc.constant('welcome' as const),
    v: fc.integer(),
    generation: fc.integer(),
    at: anyNumber,
  }),
  optional<DeployFrame>(
    {
      type: fc.constant('deploy'),
      id: anyDeployId,
      stack: anyName,
      trigger: anyText,
      acceptedAt: anyNumber,
      proof: anyProof,
      received: fc.boolean(),
    },
    'type',
    'id',
    'stack',
    'trigger',
    'acceptedAt',
    'proof',
  ),
  fc.record({
    type: fc.constant('cancel' as const),
    deploy: anyDeployId,
    proof: fc.record({ token: anyText, body: anyBase64 }),
  }),
  fc.record({ type: fc.constant('stored' as const), deploy: anyDeployId, seq: fc.integer() }),
)
