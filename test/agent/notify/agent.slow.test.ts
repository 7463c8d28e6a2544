// The agent with somebody to notify: rolls are as they were.

import { expect, test } from 'vitest'
import { type AgentOptions } from '../../../agent/daemon/agent.ts'
import type { Destination } from '../../../agent/notify/kind.ts'
import type { Listing } from '../../../agent/notify/listing.ts'
import { configFor, hookFrame, runAgent, stackConfig, tempDir } from '../../support/host.ts'
import { startHub } from '../../support/hub.ts'
import { destination } from '../../support/notices.ts'
import { hang, platforms, refuse } from '../../support/platforms.ts'
import { until } from '../../support/until.ts'

const roll: AgentOptions['roll'] = async (_stack, _request, _ports, { emit }) => {
  emit({ type: 'started' })
  const plan = { stack: 'hello', upstream: 'app', instances: ['app1'], steps: [{ kind: 'verify' } as const] }
  emit({ type: 'planned', plan })
  emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
}

async function world(notify: readonly Destination[]) {
  const [hub, to] = [await startHub(), await platforms()]
  const listings: Listing[] = []
  const agent = await runAgent(tempDir(), hub.url, {
    config: configFor(hub.url, [{ ...stackConfig(), notify }]),
    roll,
    sendNotice: (request, signal) => to.send(request, signal),
    showNotices: (_stack, listing) => void listings.push(listing),
  })
  await until('connected', () => agent.connects.count === 1)
  const deploy = async (eventId: string) => {
    const frame = await hookFrame({ eventId })
    const startedAt = Date.now()
    hub.deliver(frame)
    await until('it is over', () => hub.types(frame.id).includes('succeeded'))
    expect(hub.types(frame.id)).toEqual(['received', 'started', 'planned', 'succeeded'])
    return Date.now() - startedAt
  }
  return { hub, to, agent, deploy, listings }
}

const SLACK = { type: 'slack', url: { env: 'SLACK' } }

test('whoever hangs, refuses or is not there delays no roll and fails none', async () => {
  const { to, agent, deploy } = await world([
    destination(SLACK),
    destination({ ...SLACK, name: 'refuses' }),
    destination({ type: 'teams', url: { env: 'TEAMS' } }),
  ])
  to.next.push(hang, refuse(404), refuse(500))
  for (const eventId of ['a', 'b', 'c']) expect(await deploy(eventId)).toBeLessThan(1500)
  // One still hangs.
  const startedAt = Date.now()
  await agent.stop()
  expect(Date.now() - startedAt).toBeLessThan(4500)
})

const broken = (name: string, tell: Destination['tell']): Destination => ({
  ...destination(SLACK),
  name,
  tell,
})

test('a destination whose code throws delays no roll and fails none', async () => {
  const { agent, deploy } = await world([
    broken('at-once', () => {
      throw new Error('a bug')
    }),
    broken('later', async () => {
      throw new TypeError('a bug')
    }),
  ])
  await deploy('a')
  for (const error of ['Error', 'TypeError'])
    await until('both are given up', () => {
      const told = agent.logs.filter((line) =>
        line.includes(`given up after 1 try: a bug in Ropeway (${error})`),
      )
      return told.length === 2
    })
})

test('a list that cannot be written delays no roll and fails none', async () => {
  const hub = await startHub()
  const agent = await runAgent(tempDir(), hub.url, {
    config: configFor(hub.url, [{ ...stackConfig(), notify: [destination(SLACK)] }]),
    roll,
    sendNotice: async () => ({ status: 200, headers: new Headers(), text: '' }),
    showNotices: () => {
      throw new Error('no space left')
    },
  })
  await until('connected', () => agent.connects.count === 1)
  const frame = await hookFrame()
  hub.deliver(frame)
  await until('it is over', () => hub.types(frame.id).includes('succeeded'))
  await until('all is sent', () => agent.journal.notices.first('hello', 'slack') === undefined)
})
