// One of each: the events of a deploy, and the steps of a roll. What is added to either does not compile until it is here too.

import type { AgentEvent, DeployEvent } from '../../shared/events.ts'
import type { Step } from '../../shared/plan.ts'

type One<U, K extends keyof U> = { readonly [W in U[K] & string]: Extract<U, Record<K, W>> }

const problem = { code: 'deadline', message: 'it took too long', cure: 'wait' } as const
const steps: Step[] = [{ kind: 'verify' }]

export const EVERY_STEP: One<Step, 'kind'> = {
  pull: { kind: 'pull', image: 'hello:v2' },
  switch: { kind: 'switch', out: 'app2', route: { kind: 'members', serving: ['app1'], out: ['app2'] } },
  drain: { kind: 'drain', service: 'app2' },
  command: { kind: 'command', when: 'before', service: 'app2', command: ['migrate'] },
  update: {
    kind: 'update',
    service: 'app2',
    from: { env: {} },
    to: { image: 'hello:v2', env: {} },
    undo: false,
  },
  'await-healthy': { kind: 'await-healthy', service: 'app2' },
  soak: { kind: 'soak', service: 'app2', ms: 1000 },
  verify: { kind: 'verify' },
}

export const EVERY_AGENT_EVENT: One<AgentEvent, 'type'> = {
  received: { type: 'received' },
  started: { type: 'started' },
  warning: { type: 'warning', problem },
  planned: { type: 'planned', plan: { stack: 'hello', upstream: 'apps', instances: ['app2'], steps } },
  'step-started': { type: 'step-started', step: 0 },
  'step-progress': { type: 'step-progress', step: 0, facts: { connections: 3 } },
  'step-finished': { type: 'step-finished', step: 0, ms: 1, facts: { requests: 5 } },
  'step-failed': { type: 'step-failed', step: 0, ms: 1, problem },
  recovering: { type: 'recovering', way: 'back' },
  resuming: { type: 'resuming', steps, from: 1 },
  undoing: { type: 'undoing', steps, from: 1 },
  succeeded: { type: 'succeeded', ms: 1, changed: true, services: { app2: 'hello:v2' }, release: 2 },
  failed: { type: 'failed', ms: 1, problem },
  stuck: { type: 'stuck', ms: 1, problem, undo: problem },
  superseded: { type: 'superseded', by: '0123456789abcdef' },
  cancelled: { type: 'cancelled', ms: 1, by: 'ci' },
  expired: { type: 'expired' },
}

export const EVERY_EVENT: One<DeployEvent, 'type'> = {
  accepted: { type: 'accepted', stack: 'hello', trigger: 'deploy', actor: 'ci', trust: 'signed' },
  gap: { type: 'gap', from: 2, to: 9 },
  ...EVERY_AGENT_EVENT,
}
