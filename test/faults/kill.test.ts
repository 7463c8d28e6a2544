// Relay and agent are killed again and again while requests come in. What was accepted ends once, ran at most once, and both remember the
// same.

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { faultsIn, gather, type Asked, type Evidence } from './evidence.ts'
import { randomOf, type Random } from '../support/random.ts'
import { eventually, startWorld, type World } from './world.ts'

const STACKS = ['one', 'two', 'three', 'four'] as const
/** Between two requests, so that they come as long as there are kills. The relay allows 60 a minute for each stack. */
const PAUSE_MS_MAX = 320
const UP_MS_MAX = 1000
/** A request whose agent was killed at three offers is suspected, and offered again after two minutes. */
const OVER_MS_MAX = 150_000
const DOWN_MS_MAX = 700

type Victim = 'relay' | 'agent'

interface Storm {
  readonly what: string
  readonly count: number
  /** Who is killed together; each of these `times` times. */
  readonly victims: readonly (readonly Victim[])[]
  readonly times: number
}

async function sendAll(world: World, count: number, random: Random): Promise<Asked[]> {
  const sent: Promise<Asked>[] = []
  for (let n = 0; n < count; n += 1) {
    const stack = random.pick(STACKS)
    const name = `req-${n}`
    // The sender's own doubts: the same once or twice more, at once or a while later.
    const copies = random.pick([1, 1, 1, 2, 3])
    for (const afterMs of [0, random.from(0, 3000), random.from(0, 3000)].slice(0, copies))
      sent.push(sleep(afterMs).then(async () => ({ name, stack, id: await world.send(stack, name) })))
    await sleep(random.from(0, PAUSE_MS_MAX))
  }
  const unique = new Map((await Promise.all(sent)).map((asked) => [asked.name, asked]))
  return [...unique.values()]
}

async function killAll(world: World, { victims, times }: Storm, random: Random): Promise<void> {
  // Each as often as was asked for, in an order that only chance knows.
  const plan = victims.flatMap((those) => Array.from({ length: times }, () => those))
  while (plan.length > 0) {
    const [those = []] = plan.splice(random.from(0, plan.length - 1), 1)
    await sleep(random.from(50, UP_MS_MAX))
    await Promise.all(those.map((victim) => world.kill(world[victim])))
    await sleep(random.from(0, DOWN_MS_MAX))
    await Promise.all(
      those.map((victim) =>
        victim === 'relay' ? world.startRelay() : world.startAgent({ isExpectedToConnect: false }),
      ),
    )
  }
}

test.for<Storm>([
  {
    what: 'either is killed',
    count: 200,
    victims: [['relay'], ['agent']],
    times: 6,
  },
  { what: 'both are killed at once', count: 80, victims: [['relay', 'agent']], times: 4 },
])(
  'relay and agent: $what under a stream of requests: nothing accepted is lost, and nothing runs twice',
  async (storm, context) => {
    const random = randomOf(storm.what)
    const world = await startWorld(context, { stacks: STACKS, timing: { waitMsMax: 300 } })

    const [asked] = await Promise.all([sendAll(world, storm.count, random), killAll(world, storm, random)])
    for (const stack of STACKS)
      asked.push({ name: `last-${stack}`, stack, id: await world.send(stack, `last-${stack}`) })
    const left = async () =>
      (await Promise.all(STACKS.map((stack) => world.deploys(stack))))
        .flat()
        .filter(({ finishedAt }) => finishedAt === null)
    await eventually(
      'every deploy is over, for the relay',
      async () => (await left()).length === 0,
      OVER_MS_MAX,
    ).catch(async (error: unknown) => {
      const logs = (await left()).map(async (deploy) => ({ deploy, events: await world.events(deploy.id) }))
      throw new Error(JSON.stringify(await Promise.all(logs)), { cause: error })
    })
    await world.end(world.agent)

    const evidence = await gather(world)
    expect(faultsIn(evidence, asked)).toEqual([])
    expect(asked).toHaveLength(storm.count + STACKS.length)
    // What came when all was quiet again runs: whatever happened before, it did not leave a stack stuck.
    for (const stack of STACKS) expect(evidence.rolls).toContain(`end last-${stack}`)
    report(evidence)
  },
)

// Without these the test would show nothing: rolls came to their end, and requests were overtaken.
function report({ relay, rolls }: Evidence): void {
  const statuses = [...relay.values()].map(({ status }) => status)
  const by = Object.groupBy([...statuses, ...rolls.map((line) => line.replace(/ .*/, ''))], (what) => what)
  console.log(
    Object.entries(by)
      .map(([what, of = []]) => `${of.length} ${what}`)
      .join(', '),
  )
  expect(statuses).toEqual(expect.arrayContaining(['succeeded', 'superseded']))
}
