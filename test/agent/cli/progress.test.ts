import { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  createProgress,
  EMPTY_VIEW,
  nextView,
  renderView,
  timeOf,
  type View,
} from '../../../agent/cli/progress.ts'
import type { DeployEvent, LoggedEvent } from '../../../shared/events.ts'
import { AS_WRITTEN, type Step } from '../../../shared/plan.ts'

const STEPS: Step[] = [
  { kind: 'switch', out: 'app2', route: AS_WRITTEN },
  { kind: 'drain', service: 'app2' },
  { kind: 'await-healthy', service: 'app2' },
]
const PLAN: DeployEvent = {
  type: 'planned',
  plan: { stack: 'hello', upstream: 'apps', instances: ['app2', 'app1'], steps: STEPS },
}
const PROBLEM = { code: 'container-unhealthy' as const, message: 'app2 did not answer', cure: 'see its log' }

const log = (...events: DeployEvent[]): LoggedEvent[] =>
  events.map((event, index) => ({ seq: index + 1, at: 1000 * (index + 1), event }))

const FAILED = log(
  { type: 'accepted', stack: 'hello', trigger: 'deploy', actor: 'ci', trust: 'signed' },
  { type: 'received' },
  { type: 'started' },
  PLAN,
  { type: 'step-started', step: 0 },
  { type: 'step-finished', step: 0, ms: 120, facts: { reloads: 1 } },
  { type: 'step-started', step: 1 },
  { type: 'step-progress', step: 1, facts: { open: 3 } },
  { type: 'step-failed', step: 1, ms: 2000, problem: PROBLEM },
  { type: 'undoing', steps: [{ kind: 'switch', back: 'app2', route: AS_WRITTEN }, { kind: 'verify' }] },
  { type: 'step-started', step: 3 },
  { type: 'step-finished', step: 3, ms: 90, facts: {} },
  { type: 'failed', ms: 3000, problem: PROBLEM },
)

function fakeStdout(isTTY: boolean) {
  let text = ''
  const stream = new Writable({
    write: (chunk, _, done) => {
      text += String(chunk)
      done()
    },
  })
  const stdout = Object.assign(stream, { isTTY, columns: 120, rows: 50 }) as unknown as NodeJS.WriteStream
  return { stdout, text: () => text }
}

function after(events: readonly LoggedEvent[]) {
  let view: View = EMPTY_VIEW
  const finished: string[] = []
  for (const event of events) {
    const next = nextView(view, event, false)
    view = next.view
    finished.push(...next.finished)
  }
  return { view, finished }
}

describe('the view', () => {
  test('shows the step at work with its time and facts, and those that wait', () => {
    const { view, finished } = after(FAILED.slice(0, 8))
    expect(renderView(view, 7000 + 1500, false)).toEqual([
      '▶ drain app2 1.50 s (open 3)',
      '○ wait until app2 is healthy',
    ])
    expect(finished.at(-1)).toMatch(/^✔ take app2 out 0\.12 s \(reloads 1\)$/)
  })

  test('after a failure only the steps of the undo wait', () => {
    const { view } = after(FAILED.slice(0, 10))
    expect(renderView(view, 0, false)).toEqual(['○ put app2 back', '○ verify through nginx'])
  })

  test('nothing is left to draw at the end, and every fact has had its line', () => {
    const { view, finished } = after(FAILED)
    expect(renderView(view, 0, false)).toEqual([])
    expect(finished.map((line) => line.slice(0, 1)).join('')).toBe('···p✔✖↩✔✖')
    expect(finished.at(-1)).toContain('app2 did not answer (container-unhealthy). See its log.')
  })
})

describe('after the agent’s end in the middle', () => {
  const CRASHED = FAILED.slice(0, 8)
  const next = (...events: DeployEvent[]) => [
    ...CRASHED,
    ...events.map((event, index) => ({ seq: 9 + index, at: 9000, event })),
  ]

  test('nothing is shown at work until it is known how it goes on', () => {
    const { view, finished } = after(next({ type: 'recovering', way: 'back' }))
    expect(renderView(view, 0, false)).toEqual([])
    expect(finished.at(-1)).toBe('! the agent is back: the roll is undone')
  })

  test('a second plan begins anew', () => {
    const { view } = after(
      next({ type: 'recovering', way: 'again' }, PLAN, { type: 'step-started', step: 0 }),
    )
    expect(renderView(view, 9000, false)).toEqual([
      '▶ take app2 out 0.00 s',
      '○ drain app2',
      '○ wait until app2 is healthy',
    ])
  })

  test('what is left of a roll takes the place of the steps that were never begun', () => {
    const resuming: DeployEvent = { type: 'resuming', from: 2, steps: [{ kind: 'verify' }] }
    const { view, finished } = after(
      next({ type: 'recovering', way: 'forward' }, resuming, { type: 'step-started', step: 2 }),
    )
    expect(renderView(view, 9000, false)).toEqual(['▶ verify through nginx 0.00 s'])
    expect(finished.at(-1)).toBe('↩ going on: 1 steps are left')
  })
})

test('a stuck deploy ends with what a person must know, a line each', () => {
  const { finished } = after(
    log({
      type: 'stuck',
      ms: 1,
      problem: PROBLEM,
      undo: { code: 'deadline', message: 'too late' },
      damage: {
        serving: ['app1'],
        notServing: [{ service: 'app2', why: 'it has stopped' }],
        files: [{ path: '/srv/nginx.conf', state: 'half-way' }],
        repair: ['docker compose up -d app2'],
      },
    }),
  )
  expect(finished.join('\n').split('\n').slice(1)).toEqual([
    '  serving: app1',
    '  not serving: app2: it has stopped',
    '  /srv/nginx.conf is half way',
    '  to repair it:',
    '    docker compose up -d app2',
  ])
})

test.each<[DeployEvent, string]>([
  [{ type: 'cancelled' }, '✖ cancelled before it began'],
  [{ type: 'cancelled', by: 'cli:anna' }, '✖ cancelled by cli:anna before it began'],
  [
    { type: 'cancelled', ms: 1500, by: 'cli:anna' },
    '✖ cancelled by cli:anna after 1.50 s, the stack is as before',
  ],
  [
    { type: 'failed', ms: 0, problem: PROBLEM },
    '✖ failed: app2 did not answer (container-unhealthy). See its log.',
  ],
])('%j is told as it is', (event, line) => {
  expect(after(log(event)).finished).toEqual([line])
})

test('a rollback says so from the start', () => {
  const accepted = { type: 'accepted', stack: 'hello', trigger: 'api', actor: 'ci', trust: 'signed' } as const
  const { finished } = after(
    log(
      { ...accepted, release: 3 },
      { ...accepted, release: 'previous', reason: 'slow' },
      { ...accepted, force: true },
    ),
  )
  expect(finished).toEqual([
    '· accepted from ci (signed), back to release 3',
    '· accepted from ci (signed), back to the previous release: slow',
    '· accepted from ci (signed), even where it runs already',
  ])
})

test('events that are no longer kept are one line, and the steps at work stay', () => {
  const { view } = after(FAILED.slice(0, 8))
  const gap: LoggedEvent = { seq: 9, at: 1, event: { type: 'gap', from: 2, to: 9 } }
  const next = nextView(view, gap, false)
  expect(next).toEqual({ view, finished: ['· events 2 to 9 are no longer kept'] })
})

test('in a pipe, each event that has words is one line with its time', () => {
  const { stdout, text } = fakeStdout(false)
  const progress = createProgress({ stdout, json: false, env: {} })
  for (const event of FAILED) progress.show(event)
  progress.end()
  const lines = text().trimEnd().split('\n')
  expect(lines).toHaveLength(9)
  for (const line of lines) expect(line).toMatch(/^\d\d:\d\d:\d\d\.\d{3} \S/)
  expect(lines[0]).toBe(`${timeOf(1000)} accepted from ci (signed)`)
  // oxlint-disable-next-line no-control-regex
  expect(text()).not.toMatch(/\u001b/)
})

test('for a program, each event is one JSON text, none left out', () => {
  const { stdout, text } = fakeStdout(true)
  const progress = createProgress({ stdout, json: true, env: {} })
  for (const event of FAILED) progress.show(event)
  progress.end()
  expect(
    text()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual(FAILED)
})

test.each([
  [{}, true],
  [{ NO_COLOR: '1' }, false],
])(
  'on a terminal it draws, keeps finished lines, and colours them unless told not to (%j)',
  (env, hasColour) => {
    const { stdout, text } = fakeStdout(true)
    const progress = createProgress({ stdout, json: false, env })
    for (const event of FAILED) progress.show(event)
    progress.end()
    const plain = stripVTControlCharacters(text())
    expect(plain).toContain('✔ take app2 out 0.12 s')
    expect(plain).toContain('▶ drain app2')
    expect(text().includes('\u001b[32m')).toBe(hasColour)
  },
)

test('the time of a line', () => {
  expect(timeOf(new Date(2026, 0, 2, 3, 4, 5, 6).getTime())).toBe('03:04:05.006')
})
