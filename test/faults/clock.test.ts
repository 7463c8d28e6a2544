// Clocks that are ten minutes wrong. Nothing runs that should not, and whoever looks is told that it is the clock, and by how much.

import { describe, expect, test } from 'vitest'
import { startWorld } from './world.ts'

const SKEW_MS = 600_000
/** A few seconds pass on the way. */
const SECONDS = /\b(?:59\d|60\d)\b s/
const WRONG = [
  { clockSkewMs: SKEW_MS, how: 'ahead', signed: /in the future by this clock/ },
  { clockSkewMs: -SKEW_MS, how: 'behind', signed: /ago by this clock/ },
] as const

describe.concurrent('a clock that is 10 minutes wrong', () => {
  test('of an agent: it says so, and runs nothing until it is set right', async (context) => {
    const world = await startWorld(context)
    for (const { clockSkewMs, how } of WRONG) {
      await world.end(world.agent)
      const wrong = await world.startAgent({ clockSkewMs, isExpectedToConnect: false })
      const said = await wrong.said('REFUSES')
      expect(said).toMatch(SECONDS)
      expect(said).toMatch(new RegExp(`clock is .* ${how}.* the relay's`))
      expect(said).not.toContain('enroll')

      const id = await world.send('hello', how)
      expect(await world.hostState()).toMatchObject({ agent: { status: 'offline' } })
      expect(world.rolls()).not.toContain(`start ${how}`)
      await world.end(wrong)
      await world.startAgent()
      expect((await world.outcome(id)).at(-1)?.event.type).toBe('succeeded')
    }
    expect(world.rolls()).toEqual(['start ahead', 'end ahead', 'start behind', 'end behind'])
  })

  test('of a sender: it is refused like anybody, sees the time, and its host sees why', async (context) => {
    // A stack each, for the last stale request is noted once in a while only.
    const world = await startWorld(context, { stacks: ['ahead', 'behind'] })
    const forged = await world.post('ahead', 'forged', {
      secret: `whsec_${btoa('0123456789abcdefghijklmn')}`,
    })
    expect((await world.stackState('ahead')).triggers[0]?.stale).toBeNull()
    for (const { clockSkewMs, how, signed } of WRONG) {
      const answer = await world.post(how, how, { clockSkewMs })
      expect(answer.status).toBe(401)
      expect({ text: answer.text, headers: [...answer.headers.keys()] }).toEqual({
        text: forged.text,
        headers: [...forged.headers.keys()],
      })
      expect(Math.abs(Date.parse(answer.headers.get('date') ?? '') - Date.now())).toBeLessThan(5000)
      const stale = (await world.stackState(how)).triggers[0]?.stale
      expect(stale?.message).toMatch(SECONDS)
      expect(stale?.message).toMatch(signed)
      expect(await world.deploys(how)).toEqual([])
    }
    // The same sender with its clock set right.
    await world.outcome(await world.send('ahead', 'ahead'))
    expect(world.rolls()).toEqual(['start ahead', 'end ahead'])
  })

  test('of a command: it says so, and by how much', async (context) => {
    const world = await startWorld(context)
    for (const { clockSkewMs, how } of WRONG) {
      const { exitCode, stderr } = await world.cli(['status'], { clockSkewMs })
      expect(exitCode).toBe(1)
      expect(stderr).toMatch(SECONDS)
      expect(stderr).toMatch(new RegExp(`clock.* ${how}`))
    }
    expect((await world.cli(['status'])).exitCode).toBe(0)
  })
})
