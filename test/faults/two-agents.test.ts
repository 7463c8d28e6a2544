// Two agents with copies of one identity. The newest wins, and the older says why it is out instead of fighting for its place.

import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { startWorld } from './world.ts'

test('the older of two agents with one key says that another took over, keeps away, and starts nothing more', async (context) => {
  const world = await startWorld(context, { hasProxy: true, timing: { waitMsMax: 100 } })
  const older = world.agent
  const dials = world.proxy.passages.length
  const copy = join(world.folder, 'copy')
  await cp(world.agentData, copy, { recursive: true, filter: (path) => !/journal|agent\.pid/.test(path) })
  const newer = await world.startAgent({ data: copy })

  const why = await older.said('ANOTHER AGENT')
  expect(why).toMatch(/connected as vps-1 and took over: stop one of the two/)
  // Half a minute at least, else the two would throw each other out in turns.
  expect(Number(/dialling again in ([\d.]+) s/.exec(why)?.[1])).toBeGreaterThanOrEqual(30)
  await until('the older connection is gone', () => world.proxy.open().length === 1)

  for (const name of ['first', 'second', 'third'])
    expect((await world.outcome(await world.send('hello', name))).at(-1)?.event.type).toBe('succeeded')
  expect(world.rolls()).toEqual(
    ['first', 'second', 'third'].flatMap((name) => [`start ${name}`, `end ${name}`]),
  )
  expect(newer.lines.filter((line) => line.includes('succeeded'))).toHaveLength(3)
  expect(older.lines.filter((line) => line.includes('deploy '))).toEqual([])
  // Only the newer one has dialled since.
  expect(world.proxy.passages).toHaveLength(dials + 1)
})

test('a second agent on the same data directory does not start, and says who has it', async (context) => {
  const world = await startWorld(context)
  const first = world.agent
  const second = await world.startAgent({ isExpectedToConnect: false })
  expect(await second.ended()).not.toBe(0)
  expect(second.stderr.join('\n')).toMatch(new RegExp(`process ${first.pid} has .*journal`))
  world.forget(second)
  expect(first.isRunning).toBe(true)
})
