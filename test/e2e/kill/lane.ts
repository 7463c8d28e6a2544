// One stack with its own relay and agent, under load, on which one deploy after the other is rolled and its agent killed.

import { randomUUID } from 'node:crypto'
import { watch } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { isFinal, nextStatus } from '../../../shared/deploy.ts'
import type { LoggedEvent } from '../../../shared/events.ts'
import { startLoad, type LoadOptions, type LoadResult } from '../../support/load.ts'
import { idOfHook, startRopeway, type Ropeway } from '../../support/ropeway.ts'
import { endAll, seedNginxConf, startStack, type Stack } from '../../support/stack.ts'
import { faultsIn, logFaults, outcomeOf, type Promised } from './judge.ts'
import { commandsOf, engine, look } from './look.ts'
import type { Kill, Story } from './story.ts'
import { imageIdOf, type Version } from './version.ts'

/** Together some 150 requests a second: enough that no gap of 100 ms is missed, and little beside what a roll itself costs two cores. */
const LOADS: readonly Omit<LoadOptions, 'ip' | 'port'>[] = [
  { kind: 'idle', connections: 8, ms: 160 },
  { kind: 'fresh', connections: 2, ms: 80 },
  { kind: 'posts', perSecond: 4, ms: 300 },
]

/** What a compose file is written as before it is renamed; twice seen in each write, when it comes and when it goes. */
const TEMPORARY = /^\.docker-compose\.yml\.ropeway-(?!lock)/

export interface Killed {
  readonly at: number
  readonly how: Kill['how']
}

export interface Round {
  readonly story: Story
  readonly killed: readonly Killed[]
  readonly events: readonly LoggedEvent[]
  /** From the last start of an agent to the final event. Undefined when the deploy was over before, or not begun. */
  readonly settledMs: number | undefined
  readonly startedAt: number
  readonly endedAt: number
  readonly faults: readonly string[]
}

export interface Lane {
  readonly stack: Stack
  readonly ropeway: Ropeway
  readonly promised: Pick<Promised, 'nginx' | 'files'>
  /** What it runs now. */
  version(): Version
  /** Does the work under load; what became of the requests. */
  underLoad(work: () => Promise<void>): Promise<LoadResult[]>
  round(story: Story): Promise<Round>
  end(): Promise<void>
}

export async function startLane(): Promise<Lane> {
  const stack = await startStack()
  let onLine: ((line: string) => void) | undefined
  let onAction: ((action: string) => void) | undefined
  let ropeway: Ropeway
  try {
    ropeway = await startRopeway({
      stacks: {
        hello: {
          compose: stack.composeFiles[0],
          health: { interval: '50ms', timeout: '20s' },
          drain: { timeout: '5s' },
          allow: { images: ['ropeway-test-app'], env: ['MESSAGE'] },
        },
      },
      env: { NODE_COMPILE_CACHE: '/tmp/ropeway-compile-cache' },
      onAgentLine: (line) => onLine?.(line),
    })
  } catch (error) {
    await stack.remove()
    throw error
  }
  const promised = {
    nginx: await seedNginxConf(),
    files: (await readdir(stack.folder, { recursive: true })).toSorted(),
  }
  const actions = await actionsOf(stack.project, (action) => onAction?.(action))
  const v1 = await imageIdOf('v1')
  let version: Version = { image: 'ropeway-test-app:v1', imageId: v1, message: 'v1' }
  let rounds = 0

  // Resolves when the agent was killed. The signal is sent in the very turn in which its cause is seen.
  const arm = (id: string, { when, how }: Kill) => {
    const armed = {
      killed: undefined as (Killed & { group: Promise<number> }) | undefined,
      disarm: () => {},
      done: Promise.resolve(),
    }
    armed.done = new Promise((resolve) => {
      const kill = () => {
        if (armed.killed) return
        armed.disarm()
        armed.killed = { at: Date.now(), how, group: ropeway.killAgent(how) }
        resolve()
      }
      const counted = () => {
        left -= 1
        if (left === 0) kill()
      }
      let left = when.kind === 'time' ? 0 : when.count
      switch (when.kind) {
        case 'line':
          onLine = (line) => {
            if (line.includes(`deploy ${id}: `)) counted()
          }
          armed.disarm = () => (onLine = undefined)
          break
        case 'time': {
          const timer = setTimeout(kill, when.ms)
          armed.disarm = () => clearTimeout(timer)
          break
        }
        case 'engine':
          onAction = (action) => {
            if (action === when.action) counted()
          }
          armed.disarm = () => (onAction = undefined)
          break
        case 'write': {
          const isNginx = when.file === 'nginx'
          const watcher = watch(join(stack.folder, isNginx ? 'proxy/nginx.conf' : '.'), (type, name) => {
            if (isNginx ? type === 'change' : TEMPORARY.test(name ?? '')) counted()
          })
          armed.disarm = () => watcher.close()
        }
      }
    })
    return armed
  }

  return {
    stack,
    ropeway,
    promised,
    version: () => version,
    async underLoad(work) {
      const loads = await Promise.all(LOADS.map((load) => startLoad({ ...load, ip: stack.ip, port: 80 })))
      try {
        await work()
        return await Promise.all(loads.map((load) => load.stop()))
      } finally {
        for (const load of loads) load.kill()
      }
    },
    async round(story) {
      rounds += 1
      const startedAt = Date.now()
      const before = version
      const { body, wanted } = await asked(story, before, rounds)
      const eventId = `msg_${randomUUID()}`
      const id = await idOfHook('hello', eventId)
      const killed: Killed[] = []
      const groups: number[] = []
      let settling: { at: number } | undefined
      let starting: Promise<void> = Promise.resolve()

      let [next, ...rest] = story.kills
      let armed = next && arm(id, next)
      const answer = await ropeway.hook('hello', body, { id: eventId })
      if (answer.status !== 202) throw new Error(`not accepted: ${JSON.stringify(answer.body)}`)
      const outcome = ropeway.outcome(id)
      outcome.catch(() => {}) // awaited below
      while (armed) {
        await Promise.race([armed.done, outcome])
        armed.disarm()
        if (!armed.killed) break
        const { at, how } = armed.killed
        killed.push({ at, how })
        groups.push(await armed.killed.group)
        await starting.catch(() => {}) // it was killed before it had said that it is there
        ;[next, ...rest] = rest
        armed = next && arm(id, next)
        settling = { at: Date.now() }
        starting = ropeway.startAgent()
        starting.catch(() => {})
      }
      const events = await outcome
      // What only looks may end when it likes.
      const orphans = (await Promise.all(groups.map(commandsOf)))
        .flat()
        .filter((line) => / (up|run) /.test(line))
      await starting
      const promise = { ...promised, before, wanted }
      const expected = outcomeOf(events, promise)
      const seen = await look(stack)
      const faults = [
        ...logFaults(events, { mayFail: story.request === 'exits' }),
        ...orphans.map((line) => `the deploy is over, and a killed agent's command still runs: ${line}`),
        ...faultsIn(seen, expected ?? before, promise),
      ]
      if (expected) version = expected
      const lastKill = killed.at(-1)
      const final = events.at(-1)
      const wasBegun = events.some(
        ({ at, event }) => lastKill && at <= lastKill.at && event.type === 'started',
      )
      const wasOver = events.some(
        ({ at, event }) => lastKill && at <= lastKill.at && isFinal(nextStatus('running', event)),
      )
      return {
        story,
        killed,
        events,
        settledMs: settling && final && wasBegun && !wasOver ? final.at - settling.at : undefined,
        startedAt,
        endedAt: Date.now(),
        faults,
      }
    },
    end: () =>
      endAll(
        () => ropeway.stop(),
        async () => actions.end(),
        () => stack.remove(),
      ),
  }
}

/** The request of a story, and what the stack runs when it was done. */
async function asked({ request }: Story, before: Version, round: number) {
  if (request === 'env') {
    const message = `r${round}`
    return { body: { env: { MESSAGE: `{service},${message}` } }, wanted: { ...before, message } }
  }
  // An image that exists on this host only is pinned by its ID. Alternately: the roll must have something to do.
  const ids = await Promise.all(['v2', 'v3'].map(imageIdOf))
  const tag = request === 'exits' ? 'exits' : before.imageId === ids[0] ? 'v3' : 'v2'
  const imageId = await imageIdOf(tag)
  return { body: { image: `ropeway-test-app:${tag}` }, wanted: { ...before, image: imageId, imageId } }
}

/** What the engine does to the containers of a project, as it says it. */
async function actionsOf(project: string, onAction: (action: string) => void): Promise<{ end(): void }> {
  const filters = { type: ['container'], label: [`com.docker.compose.project=${project}`] }
  const stream = await engine().getEvents({ filters: JSON.stringify(filters) })
  createInterface({ input: stream }).on('line', (line) => {
    onAction((JSON.parse(line) as { Action: string }).Action)
  })
  return { end: () => void (stream as Readable).destroy() }
}
