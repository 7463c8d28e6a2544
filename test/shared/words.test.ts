import { expect, test } from 'vitest'
import type { DeployEvent } from '../../shared/events.ts'
import { describeEvent, EMPTY_PICTURE } from '../../shared/words.ts'

const describe = (event: DeployEvent) => describeEvent(EMPTY_PICTURE, { seq: 1, at: 0, event })
const SUCCEEDED = { type: 'succeeded', ms: 2420, changed: true, services: {}, release: 3 } as const
const [A, B] = ['a', 'b'].map((digit) => `ghcr.io/acme/hello:v2@sha256:${digit.repeat(64)}`) as [
  string,
  string,
]

test('a success names each image once, to the last digit of its digest', () => {
  expect(describe({ ...SUCCEEDED, images: { app1: A, app2: A } })).toBe(
    `succeeded in 2.42 s (release 3)\n  app1, app2: ${A}`,
  )
  expect(describe({ ...SUCCEEDED, changed: false, images: { app1: A, app2: B } })).toBe(
    `succeeded: nothing had to change\n  app1: ${A}\n  app2: ${B}`,
  )
})

test('a success of an older agent, which names none, is one line', () => {
  expect(describe(SUCCEEDED)).toBe('succeeded in 2.42 s (release 3)')
})
