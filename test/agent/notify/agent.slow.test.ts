// The agent with somebody to notify: rolls are as they were.

import { expect, test } from 'vitest'
import { type AgentOptions } from '../../../agent/daemon/agent.ts'
import type { Destination } from '../../../agent/notify/kind.ts'
import type { Listing } from '../../../agent/notify/listing.ts'
import { configFor, hookFrame, runAgent, stackConfig, tempDir } from '../../support/host.ts'
import { startHub } from '../../support/hub.ts'
import { destination } from '../../support/notices.ts'
import { hold, platforms, refuse } from '../../support/platforms.ts'
import { until } from '../../support/until.ts'

const roll: AgentOptions['roll'] = async (_stack, _request, _ports, { emit }) => {
  emit({ type: 'started' })
  const plan = { stack: 'hello', upstream: 'app', instances: ['app1'], steps: [{ kind: 'verify' } as const] }
  emit({ type: 'planned', plan })
  emit({ type: 'step-started', step: 0 })
  emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
}

async function world(notify: readonly Destination[]) {
  const [hub, to] = [await startHub(), await platforms()]
  const listings: Listing[] = []
  const agent = await runAgent(tempDir(), hub.url, {
    config: configFor(hub.url, [{ ...stackConfig(), notify }]),
    roll,
    // Nobody's patience is to end before the test does.
    sendNotice: (request, signal) => to.send(request, signal, 3_600_000),
    showNotices: (_stack, listing) => void listings.push(listing),
  })
  await until('connected', () => agent.connects.count === 1)
  const deploy = async (eventId: string) => {
    const frame = await hookFrame({ eventId })
    hub.deliver(frame)
    await until('it is over', () => hub.types(frame.id).includes('succeeded'))
    expect(hub.types(frame.id)).toEqual(['received', 'started', 'planned', 'step-started', 'succeeded'])
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
  const hanging = hold()
  to.next.push(hanging.answer, refuse(404), refuse(500))
  await deploy('a')
  await until('one hangs', hanging.isAwaited)
  for (const eventId of ['b', 'c']) await deploy(eventId)
  expect(hanging.isAwaited()).toBe(true)
  // Nor does it keep the agent from ending.
  let isStopped = false
  void agent.stop().then(() => (isStopped = true))
  await until('the agent has ended', () => isStopped)
  await until('it is left alone', () => !hanging.isAwaited())
})

test('whoever answers late is told the rest, after deploys that did not wait for it', async () => {
  const { to, agent, deploy } = await world([destination(SLACK)])
  const late = hold()
  to.next.push(late.answer)
  await deploy('a')
  await until('it is asked', late.isAwaited)
  await deploy('b')
  expect(to.got.length).toBe(1)
  late.letGo()
  await until('all is sent', () => agent.journal.notices.first('hello', 'slack') === undefined)
  expect(to.got.length).toBe(4)
})

const broken = (name: string, tell: Destination['tell']): Destination => ({
  ...destination(SLACK),
  name,
  tell,
})

test('a destination whose code throws delays no roll and fails none', async () => {
  const throws = Promise.withResolvers<never>()
  const asked = { count: 0 }
  const { agent, deploy } = await world([
    broken('at-once', () => {
      throw new Error('a bug')
    }),
    broken('later', () => ((asked.count += 1), throws.promise)),
  ])
  await deploy('a')
  await until('it is asked', () => asked.count === 1)
  await deploy('b')
  throws.reject(new TypeError('a bug'))
  for (const error of ['Error', 'TypeError'])
    await until('both moments of both deploys are given up', () => {
      const told = agent.logs.filter((line) =>
        line.includes(`given up after 1 try: a bug in Ropeway (${error})`),
      )
      return told.length === 4
    })
})

test('a list that cannot be written fails no roll, and what it would list is sent all the same', async () => {
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
  expect(new Set(agent.logs.filter((line) => line.startsWith('warn')))).toEqual(
    new Set(['warn: what became of the notices of hello cannot be shown: no space left']),
  )
})
