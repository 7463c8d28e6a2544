import { expect, test } from 'vitest'
import { STATUSES, isFinal, nextStatus, type Status } from '../../shared/deploy.ts'
import { DEPLOY_ID_PATTERN, deployId } from '../../shared/deploy-id.ts'
import type { DeployEvent } from '../../shared/events.ts'

const problem = { code: 'deadline', message: 'x' } as const
const RUNNING: DeployEvent[] = [
  { type: 'started' },
  { type: 'planned', plan: { stack: 'hello', upstream: 'apps', instances: [], steps: [] } },
  { type: 'step-started', step: 0 },
  { type: 'step-progress', step: 0, facts: {} },
  { type: 'step-finished', step: 0, ms: 1, facts: {} },
  { type: 'step-failed', step: 0, ms: 1, problem },
  { type: 'undoing', steps: [] },
  { type: 'recovering', way: 'back' },
  { type: 'resuming', steps: [] },
]
const KEEPING: DeployEvent[] = [
  { type: 'accepted', stack: 'hello', trigger: 'deploy', actor: 'ci', trust: 'signed' },
  { type: 'received' },
  { type: 'warning', problem },
  { type: 'gap', from: 2, to: 9 },
]
const FINAL: (DeployEvent & { type: Status })[] = [
  { type: 'succeeded', ms: 1, changed: true, services: {} },
  { type: 'failed', ms: 1, problem },
  { type: 'stuck', ms: 1, problem, undo: problem },
  { type: 'superseded', by: 'x' },
  { type: 'cancelled' },
  { type: 'expired' },
]

test.each(KEEPING)('$type keeps the status', (event) => {
  expect(nextStatus('queued', event)).toBe('queued')
  expect(nextStatus('running', event)).toBe('running')
})

test.each(RUNNING)('$type means running', (event) => {
  expect(nextStatus('queued', event)).toBe('running')
  expect(nextStatus('running', event)).toBe('running')
})

test.each(FINAL)('$type is the end', (event) => {
  expect(nextStatus('queued', event)).toBe(event.type)
  expect(nextStatus('running', event)).toBe(event.type)
  expect(isFinal(event.type)).toBe(true)
  for (const after of [...KEEPING, ...RUNNING, ...FINAL])
    expect(() => nextStatus(event.type, after)).toThrow(`${after.type} after ${event.type}`)
})

test('every status but two is final', () => {
  expect(STATUSES.filter((status) => !isFinal(status))).toEqual(['queued', 'running'])
})

test('an id depends on every part, and on where one part ends', async () => {
  const ids = await Promise.all([
    deployId('a', 'b'),
    deployId('ab'),
    deployId('a', 'b', ''),
    deployId('b', 'a'),
    deployId('a","b'),
  ])
  for (const id of ids) expect(id).toMatch(DEPLOY_ID_PATTERN)
  expect(new Set(ids).size).toBe(ids.length)
  expect(await deployId('a', 'b')).toBe(ids[0])
})

test('an id, once given, is for ever', async () => {
  expect(await deployId('vps-1', 'hello', 'deploy', 'msg_1')).toMatchInlineSnapshot(`"vt4e127y70s6pe8k"`)
})
