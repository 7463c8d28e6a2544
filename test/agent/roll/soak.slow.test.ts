import { describe, expect, test } from 'vitest'
import type { Engine } from '../../../agent/ports.ts'
import type { Facts } from '../../../shared/events.ts'
import type { Step } from '../../../shared/plan.ts'
import { FakeWorld, type WorldOptions } from '../../support/fake-world.ts'
import { overIPv6, six } from '../../support/world/ipv6.ts'
import { proxyPath, stackFiles } from '../../support/world/stack-files.ts'

const V2 = { env: { MESSAGE: '{service},v2' } }
const SOAK_MS = 30_000
/** Each server gets one request in this time. */
const REQUEST_EVERY_MS = 20

const SHAPE = {
  instances: 2,
  mount: 'file' as const,
  down: [],
  keepaliveMinTimeoutMs: 200,
  image: 'ghcr.io/acme/hello:v1',
  hasHealthcheck: false,
}
const FORMAT = `log_format up '"$request" $status $upstream_addr $upstream_status';`

/** What a server answers to its n-th request of a soak, by the version that it runs. */
type Answer = (service: string, version: string, n: number) => number

const good: Answer = () => 200
const flaky: Answer = (_, version, n) => (version === 'v2' && n % 3 === 0 ? 500 : 200)

/** A stack that soaks, and an nginx that notes what each server answers. */
function soaking({
  answer = good,
  http = `${FORMAT} access_log /dev/stdout up;`,
  everyMs = REQUEST_EVERY_MS,
  ...options
}: { answer?: Answer; http?: string; everyMs?: number } & WorldOptions) {
  const shape = { ...SHAPE, ...options }
  const path = proxyPath(shape)
  const text = (stackFiles(shape)[path] ?? '').replace('http {', `http { ${http}`)
  const world = new FakeWorld({
    ...options,
    stack: { soakMs: SOAK_MS, ...options.stack },
    files: { [path]: text },
  })
  const linesSince = (sinceMs: number) => {
    const all = world.containers.all().filter(({ service }) => service.startsWith('app'))
    const count = Math.floor((world.clock.now() - sinceMs) / everyMs)
    return Array.from({ length: count }, (_, n) =>
      all.map(({ service, ip, env }) => {
        const status = answer(service, env['MESSAGE']?.split(',')[1] ?? '', n)
        return `"GET / HTTP/1.1" ${status} ${ip}:3000 ${status}\n`
      }),
    )
      .flat()
      .join('')
  }
  const reads: number[] = []
  const engine: Engine = world.ports.engine
  engine.outputSince = async (_id, sinceMs, signal) => {
    await world.clock.sleep(10, signal)
    reads.push(world.clock.now() - sinceMs)
    return `/docker-entrypoint.sh: ready\n${linesSince(sinceMs)}`
  }
  return { world, reads, engine, linesSince }
}

type Events = Awaited<ReturnType<FakeWorld['roll']>>['events']

function stepsOf(events: Events): readonly Step[] {
  return events.find((event) => event.type === 'planned')?.plan.steps ?? []
}

function soaks(events: Events): Facts[] {
  return events.flatMap((event) =>
    event.type === 'step-finished' && stepsOf(events)[event.step]?.kind === 'soak' ? [event.facts] : [],
  )
}

test('a good version passes, and the step says how many requests it was judged by', async () => {
  const { world, reads } = soaking({})
  const { end, events } = await world.roll(V2)
  expect(end).toMatchObject({ type: 'succeeded' })
  expect(soaks(events)).toHaveLength(2)
  for (const facts of soaks(events)) {
    expect(facts).toEqual({
      requests: expect.any(Number),
      errors: 0,
      othersRequests: expect.any(Number),
      othersErrors: 0,
    })
    expect(facts['requests']).toBeGreaterThan(1400)
    expect(facts['requests']).toBeLessThan(1600)
  }
  // Fourteen looks or so each, the first soon, ever less often, and one at the end.
  expect(reads.length).toBeGreaterThan(20)
  expect(reads.length).toBeLessThan(36)
  expect(reads[0]).toBeLessThan(1500)
  expect(Math.max(...reads)).toBeGreaterThanOrEqual(SOAK_MS)
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('requests that nginx sent by IPv6 count too', async () => {
  const { world, engine, linesSince } = soaking({ stack: { soakMs: 2_000 } })
  overIPv6(world, true)
  engine.outputSince = async (_id, sinceMs) =>
    linesSince(sinceMs).replaceAll(/ ([\d.]+):3000/g, (_, ip) => ` [${six(ip)}]:3000`)
  const { events } = await world.roll(V2)
  expect(soaks(events).map(({ requests }) => Number(requests) > 50)).toEqual([true, true])
})

test('a version that fails a third of its requests is undone early, and the others never were', async () => {
  const { world } = soaking({ answer: flaky })
  const { end, events } = await world.roll(V2)
  expect(end).toMatchObject({
    type: 'failed',
    problem: {
      code: 'instance-worse',
      message: expect.stringMatching(
        /^app2 answers 5xx to (\d+) of (\d+) requests in traffic, the others to 0 of \d+$/,
      ),
      cure: 'see in its log which requests fail',
    },
  })
  expect(end?.type === 'failed' && end.ms).toBeLessThan(10_000)
  const begun = events.flatMap((event) =>
    event.type === 'step-started' ? (stepsOf(events)[event.step] ?? []) : [],
  )
  expect(begun.filter((step) => step.kind === 'update').map(({ service }) => service)).toEqual(['app2'])
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('what both versions answer, or the old one alone, undoes nothing', async () => {
  for (const answer of [
    () => 503,
    (_: string, version: string, n: number) => (version === 'v1' && n % 2 === 0 ? 500 : 200),
  ]) {
    const { world } = soaking({ answer })
    expect((await world.roll(V2)).end).toMatchObject({ type: 'succeeded' })
  }
})

test('of three instances, the first is compared with those that are in traffic', async () => {
  const { world } = soaking({
    answer: (service, version, n) => (service === 'app2' ? flaky(service, version, n) : 200),
    instances: 3,
  })
  const { end, events } = await world.roll(V2)
  expect(end).toMatchObject({
    type: 'failed',
    problem: { code: 'instance-worse', message: expect.stringContaining('app2') },
  })
  // app3 was judged by twice as many requests of the others, and passed.
  const [first] = soaks(events)
  expect(first?.['othersRequests']).toBe(2 * Number(first?.['requests']))
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

async function factsOf({ world }: ReturnType<typeof soaking>) {
  const { end, events } = await world.roll(V2)
  expect(end).toMatchObject({ type: 'succeeded' })
  return { events, facts: soaks(events) }
}

describe('where nothing can be judged, the step says why', () => {
  test('too few requests', async () => {
    const { facts } = await factsOf(soaking({ answer: flaky, everyMs: 700 }))
    expect(facts[0]?.['log']).toMatch(/^too few requests to judge by: 4\d, and 4\d at the others$/)
    expect(facts[0]?.['errors']).toBeGreaterThan(10)
  })

  test('a format without addresses: and the deploy warns of it before', async () => {
    const { events, facts } = await factsOf(soaking({ http: '', answer: flaky }))
    expect(facts).toEqual([
      { log: 'the log format combined has no $upstream_addr' },
      { log: 'the log format combined has no $upstream_addr' },
    ])
    const warning = {
      code: 'soak-without-traffic',
      message:
        'the soak cannot see how the instances answer in traffic: the log format combined has no $upstream_addr',
    }
    expect(events).toContainEqual({ type: 'warning', problem: expect.objectContaining(warning) })
    // With a log that can be read, or without a soak, nobody is warned.
    for (const quiet of [soaking({}), soaking({ http: '', stack: { soakMs: 0 } })])
      expect((await quiet.world.roll(V2)).events).not.toContainEqual(
        expect.objectContaining({ problem: expect.objectContaining({ code: 'soak-without-traffic' }) }),
      )
  })

  test('a log that goes nowhere', async () => {
    const { facts } = await factsOf(soaking({ http: `${FORMAT} access_log /dev/stderr up;` }))
    expect(facts[0]).toEqual({ log: 'the access log /dev/stderr goes to /dev/stderr' })
  })

  test('an engine that cannot read the output of its containers', async () => {
    const made = soaking({})
    made.engine.outputSince = async () => {
      throw new Error('configured logging driver does not support reading')
    }
    const { facts } = await factsOf(made)
    expect(facts[0]).toEqual({
      log: 'the access log cannot be read: configured logging driver does not support reading',
    })
  })

  test('a file that nobody can read', async () => {
    const { facts } = await factsOf(soaking({ http: `${FORMAT} access_log /logs/a.log up;` }))
    expect(facts[0]?.['log']).toEqual(
      expect.stringMatching(
        /^the access log \/logs\/a\.log cannot be read in service nginx: .*"stat".* not found/,
      ),
    )
  })
})

const done = (stdout: string) => ({ exitCode: 0, stdout, stderr: '' })

/** The commands that a roll runs in nginx's container, on a file that a test writes. */
function withFile(made: ReturnType<typeof soaking>, links: Record<string, string> = {}) {
  const file = { inode: 7, text: 'what was there before the soak, 172.18.0.11:3000 500\n'.repeat(1000) }
  const parts: [number, number][] = []
  const { exec } = made.engine
  made.engine.exec = async (id, argv, signal) => {
    const [program, ...args] = argv
    if (program === 'readlink')
      return { ...done(links[args[0] ?? ''] ?? ''), exitCode: links[args[0] ?? ''] === undefined ? 1 : 0 }
    if (program === 'stat') return done(`${file.inode} ${file.text.length}\n`)
    if (program !== 'sh' || !args[1]?.startsWith('tail')) return await exec(id, argv, signal)
    const [from, count] = [Number(args[3]) - 1, Number(args[4])]
    parts.push([from, count])
    return done(file.text.slice(from, from + count))
  }
  return { file, parts }
}

describe('a log in a file', () => {
  test('only what is new in it counts', async () => {
    const made = soaking({ http: `${FORMAT} access_log /logs/a.log up;` })
    const { file, parts } = withFile(made)
    const before = file.text.length
    let writtenUntil = 0
    made.world.clock.onTick = () => {
      const now = made.world.clock.now()
      if (writtenUntil > 0) file.text += made.linesSince(writtenUntil)
      if (now - writtenUntil >= REQUEST_EVERY_MS) writtenUntil = now
    }
    const { end, events } = await made.world.roll(V2)
    expect(end).toMatchObject({ type: 'succeeded' })
    const [first] = soaks(events)
    expect(first).toMatchObject({ errors: 0 })
    expect(first?.['requests']).toBeGreaterThan(100)
    expect(Math.min(...parts.map(([from]) => from))).toBeGreaterThanOrEqual(before)
  })

  test('a link to nginx’s output is followed to it, however many there are', async () => {
    const made = soaking({ http: `${FORMAT} access_log /logs/a.log up;`, answer: flaky })
    withFile(made, { '/logs/a.log': '/var/log/nginx/access.log', '/var/log/nginx/access.log': '/dev/stdout' })
    expect((await made.world.roll(V2)).end).toMatchObject({
      type: 'failed',
      problem: { code: 'instance-worse' },
    })
  })

  test('of one that was rotated, all of the new one counts', async () => {
    const made = soaking({ http: `${FORMAT} access_log /logs/a.log up;`, answer: flaky })
    const { file, parts } = withFile(made)
    const { world } = made
    world.clock.after(4000, () => {
      file.inode = 8
      file.text = made.linesSince(world.clock.now() - 20_000)
    })
    expect((await world.roll(V2)).end).toMatchObject({ type: 'failed', problem: { code: 'instance-worse' } })
    expect(parts.at(-1)?.[0]).toBe(0)
  })
})
