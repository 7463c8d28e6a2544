import { describe, expect, test } from 'vitest'
import type { Before } from '../../../agent/roll/gates/gates.ts'
import { checkSomebodyServes, rollingOrder } from '../../../agent/roll/order.ts'

const was = (state: Before['state'], isAnswering = state === 'well'): Before => ({
  state,
  isAnswering,
  isHealthyByDocker: state === 'well',
  said: `is ${state}`,
})

const orderOf = (...states: Before['state'][]) => {
  const services = states.map((_, index) => `app${index + 1}`)
  return rollingOrder(
    services,
    Object.fromEntries(states.map((state, index) => [services[index], was(state)])),
  )
}

describe('the rolling order', () => {
  test('from the last to the first, where all are well', () => {
    expect(orderOf('well', 'well', 'well')).toEqual(['app3', 'app2', 'app1'])
  })

  test('what is gone, then what is sick, then what is well: each from the last to the first', () => {
    expect(orderOf('well', 'sick', 'gone', 'well', 'sick', 'gone')).toEqual([
      'app6',
      'app3',
      'app5',
      'app2',
      'app4',
      'app1',
    ])
  })

  test('what nothing is known of counts as well', () => {
    expect(rollingOrder(['app1', 'app2', 'app3'], { app2: was('sick') })).toEqual(['app2', 'app3', 'app1'])
  })
})

const check = (
  order: readonly string[],
  before: Readonly<Record<string, Before>>,
  { others = 0, down = [] as readonly string[] } = {},
) =>
  checkSomebodyServes(
    order,
    Object.keys(before).map((service) => ({ service, isLive: !down.includes(service) })),
    before,
    others,
  )

describe('whoever serves is not taken out before another serves', () => {
  test('two that answer, in any order', () => {
    const before = { app1: was('well'), app2: was('well') }
    expect(() => check(['app2', 'app1'], before)).not.toThrow()
    expect(() => check(['app1', 'app2'], before)).not.toThrow()
  })

  test('a sick one is rolled first, and serves from then on', () => {
    expect(() => check(['app1', 'app2'], { app1: was('sick'), app2: was('well') })).not.toThrow()
  })

  test('the last one that answers is not begun with', () => {
    const before = { app1: was('sick'), app2: was('well'), app3: was('gone') }
    const refused = expect.objectContaining({
      code: 'upstream-too-small',
      message: 'app2 is the only instance that answers: app1: is sick; app3: is gone',
      cure: 'roll app1, app3 too, or mend what is sick first',
    })
    expect(() => check(['app2', 'app1'], before)).toThrow(refused)
    expect(() => check(['app2'], before)).toThrow(refused)
  })

  test('one that Docker alone calls sick answers', () => {
    const before = { app1: was('sick', true), app2: was('well') }
    expect(() => check(['app2'], before)).not.toThrow()
    expect(() => check(['app1'], before)).not.toThrow()
  })

  test('a server that is no service of the stack may serve meanwhile', () => {
    expect(() => check(['app2'], { app1: was('sick'), app2: was('well') }, { others: 1 })).not.toThrow()
  })

  test('one that its user has marked down serves nobody, before and after', () => {
    const before = { app1: was('well'), app2: was('well'), app3: was('sick') }
    expect(() => check(['app2'], before, { down: ['app1'] })).toThrow('app2 is the only instance')
    expect(() => check(['app1', 'app2'], before, { down: ['app1'] })).toThrow('app2 is the only instance')
  })

  test('where nobody answers, nobody is worse off', () => {
    expect(() => check(['app2', 'app1'], { app1: was('gone'), app2: was('gone') })).not.toThrow()
  })
})
