// The outbox: what is stored with an event goes out in order, again and again until it is taken or given up, and holds nothing up.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { linesOf } from '../../../agent/cli/notifications.ts'
import type { StackConfig } from '../../../agent/config/config.ts'
import { Journal } from '../../../agent/daemon/journal/journal.ts'
import { NOTICES_ENDED_MAX, NOTICES_WAITING_MAX } from '../../../agent/daemon/journal/notices.ts'
import { Writer } from '../../../agent/daemon/journal/writer.ts'
import type { Answer, Destination, Outgoing } from '../../../agent/notify/kind.ts'
import type { Listing } from '../../../agent/notify/listing.ts'
import { noticesOf, Notifier } from '../../../agent/notify/notifier.ts'
import { NOTICE_AGE_MS_MAX } from '../../../agent/notify/retry.ts'
import type { AgentEvent } from '../../../shared/events.ts'
import { stackConfig, takenIn, tempDir } from '../../support/host.ts'
import { destination, TOKEN } from '../../support/notices.ts'
import { until } from '../../support/until.ts'

const idOf = (n: number) => n.toString().padStart(16, '0')
const SLACK = { type: 'slack', url: { env: 'SLACK' } }
const STEP = { kind: 'verify' } as const
const PLANNED: AgentEvent = {
  type: 'planned',
  plan: { stack: 'hello', upstream: 'apps', instances: ['app1'], steps: [STEP] },
}
const BEGUN: AgentEvent = { type: 'step-started', step: 0 }
const SUCCEEDED: AgentEvent = { type: 'succeeded', ms: 9, changed: true, services: {} }

interface Options {
  readonly dir?: string
  readonly notify?: readonly Destination[]
  /** Answers the requests, one after the other; then everything is taken. */
  readonly answers?: (number | [number, Record<string, string>] | 'hangs')[]
}

/** A journal with a stack `hello` that is notified, and who answers as the test says. */
function world({ dir = tempDir(), notify = [destination(SLACK)], answers = [] }: Options = {}) {
  const stack: StackConfig = { ...stackConfig(), notify }
  const config = { host: 'vps-1', relay: 'https://relay.example', stacks: [stack] }
  const logs: string[] = []
  const log = (level: string, message: string) => void logs.push(`${level}: ${message}`)
  const journal = new Journal(dir, noticesOf(config, log))
  const sent: string[] = []
  const listings: Listing[] = []
  let notifier: Notifier | undefined
  const writer = new Writer(journal, log, () => notifier?.wake())
  const send = async (request: Outgoing, signal: AbortSignal): Promise<Answer> => {
    sent.push(titleIn(request))
    const next = answers.shift() ?? 200
    if (next === 'hangs') {
      await sleep(60_000, undefined, { signal }).catch(() => {})
      return { fault: 'no answer' }
    }
    const [status, headers] = typeof next === 'number' ? [next, {}] : next
    return { status, headers: new Headers(headers), text: '' }
  }
  let isOver = false
  const made = {
    dir,
    journal,
    writer,
    logs,
    sent,
    listings,
    listed: () => listings.at(-1)?.notices ?? [],
    /** Stores a deploy that was begun, and how it ended. */
    deploy: (n: number, end: AgentEvent | null = SUCCEEDED, at = Date.now()) => {
      journal.receive(takenIn({ id: idOf(n) }), at)
      writer.append(idOf(n), PLANNED, at)
      writer.append(idOf(n), BEGUN, at)
      if (end) writer.append(idOf(n), end, at)
    },
    start: () => {
      notifier = new Notifier({
        config,
        journal,
        writer,
        log,
        version: 'test',
        show: (_stack, listing) => listings.push(listing),
        send,
        random: () => 0,
      })
      notifier.start()
      return notifier
    },
    /** As a kill does: nothing more is done, and the file is free. */
    stop: async (ms = 0) => {
      if (isOver) return
      isOver = true
      await notifier?.end(ms)
      writer.stop()
      journal.close()
    },
  }
  onTestFinished(() => made.stop())
  return made
}

function titleIn({ body = '' }: Outgoing): string {
  const [, moment, id] = /(has begun|succeeded|failed|stuck).*?(\d{16})/s.exec(body) ?? []
  return `${Number(id)} ${moment}`
}

test('what is stored with an event is sent, in order, and is not sent again', async () => {
  const { deploy, start, sent, listed, stop, dir } = world()
  deploy(1)
  start()
  deploy(2)
  await until('all are sent', () => sent.length === 4)
  expect(sent).toEqual(['1 has begun', '1 succeeded', '2 has begun', '2 succeeded'])
  await until('it is recorded', () => listed()[0]?.deploy === idOf(2) && listed()[0]?.moment === 'success')
  await stop()
  const again = world({ dir })
  again.start()
  again.deploy(3)
  await until('the next is sent', () => again.sent.length === 2)
  expect(again.sent).toEqual(['3 has begun', '3 succeeded'])
})

describe('an event and its notices', () => {
  test('are stored both or not at all', () => {
    const { journal, deploy, listed, start } = world()
    const add = vi.spyOn(journal.notices, 'add').mockImplementation(() => {
      throw new Error('database or disk is full')
    })
    journal.receive(takenIn({ id: idOf(1) }), 1)
    expect(() => journal.append(idOf(1), PLANNED, 1)).toThrow('full')
    expect(journal.statusOf(idOf(1))).toBe('queued')
    expect(journal.eventsAfter(idOf(1), 1, 9)).toEqual([])
    add.mockRestore()
    deploy(1)
    start()
    expect(listed().map(({ moment }) => moment)).toEqual(['success', 'start'])
  })

  test('a bug in what is told loses no event', () => {
    const { deploy, journal, logs } = world()
    const broken = vi.spyOn(Array.prototype, 'findLast').mockImplementation(() => {
      throw new TypeError('a bug')
    })
    try {
      deploy(1)
    } finally {
      broken.mockRestore()
    }
    expect(journal.statusOf(idOf(1))).toBe('succeeded')
    expect(logs).toContainEqual(expect.stringContaining('nobody is notified of succeeded: a bug'))
  })

  test('a roll that begins again after a crash is told once', async () => {
    const { journal, writer, start, sent, listed, deploy, logs } = world()
    deploy(1, null)
    start()
    await until('the beginning is told', () => listed()[0]?.outcome === 'sent')
    journal.append(idOf(1), { type: 'recovering', way: 'again' }, 2)
    journal.append(idOf(1), PLANNED, 3)
    journal.append(idOf(1), BEGUN, 3)
    writer.append(idOf(1), SUCCEEDED, 4)
    await until('the end is told', () => sent.includes('1 succeeded'))
    expect(sent).toEqual(['1 has begun', '1 succeeded'])
    expect(logs).toEqual([])
  })

  test('only the moments that the destination asks for are stored', async () => {
    const { deploy, start, sent } = world({ notify: [destination({ ...SLACK, on: ['failure'] })] })
    start()
    deploy(1)
    deploy(2, { type: 'failed', ms: 1, problem: { code: 'internal', message: 'no' } })
    await until('it is told', () => sent.length === 1)
    expect(sent).toEqual(['2 failed'])
  })
})

describe('after a crash', () => {
  test('what was stored and not sent is sent by the next agent', async () => {
    const first = world()
    first.deploy(1)
    await first.stop()
    const second = world({ dir: first.dir })
    second.start()
    await until('it is sent', () => second.sent.length === 2)
    expect(second.sent).toEqual(['1 has begun', '1 succeeded'])
  })

  test('what was sent and not recorded is sent once more: at least once, with the same id', async () => {
    const first = world()
    first.deploy(1, null)
    const ended = vi.spyOn(first.journal.notices, 'ended').mockImplementation(() => {
      throw new Error('database or disk is full')
    })
    first.start()
    await until('it is recorded in vain, twice', () => ended.mock.calls.length === 2)
    // It is not sent again and again while the disk is full.
    expect(first.sent).toEqual(['1 has begun'])
    await first.stop()
    const second = world({ dir: first.dir })
    second.start()
    await until('it is sent', () => second.sent.length === 1)
    expect(second.sent).toEqual(['1 has begun'])
  })

  test('a destination that is gone from ropeway.yml loses nothing without a word', async () => {
    const first = world({ answers: [500] })
    first.deploy(1)
    await first.stop()
    const second = world({ dir: first.dir, notify: [destination({ ...SLACK, name: 'other' })] })
    second.start()
    expect(second.logs).toContainEqual(expect.stringMatching(/^warn: 2 notices of hello are given up/))
    expect(second.listed()).toMatchObject([
      { destination: 'slack', outcome: 'given-up', fault: expect.stringContaining('no more') },
      { destination: 'slack', outcome: 'given-up' },
    ])
  })

  test('one that is damaged is given up, and those after it are sent', async () => {
    const first = world()
    first.deploy(1)
    await first.stop()
    const db = new DatabaseSync(join(first.dir, 'journal.sqlite'))
    db.exec(`UPDATE notices SET body = '{"moment":1}' WHERE moment = 'start'`)
    db.close()
    const second = world({ dir: first.dir })
    second.start()
    await until('the next is sent', () => second.sent.length === 1)
    expect(second.sent).toEqual(['1 succeeded'])
    expect(second.listed()).toContainEqual(
      expect.objectContaining({ outcome: 'given-up', fault: expect.stringContaining('cannot be read') }),
    )
  })
})

describe('a destination that does not take it', () => {
  test('is tried again, and what comes later waits behind', async () => {
    const { deploy, start, sent, logs, listed } = world({ answers: [500, 503] })
    start()
    deploy(1)
    await until('it was refused', () => listed().some(({ tries }) => tries === 1))
    expect(listed().at(-1)).toMatchObject({ moment: 'start', fault: 'HTTP 500', outcome: null })
    await until('all are sent', () => sent.includes('1 succeeded'))
    expect(sent).toEqual(['1 has begun', '1 has begun', '1 has begun', '1 succeeded'])
    await until('it is told', () => logs.length === 2)
    expect(logs).toEqual([
      `warn: slack of hello is not notified of start of deploy ${idOf(1)} yet: HTTP 500`,
      `info: slack of hello is notified of start of deploy ${idOf(1)}, at try 3`,
    ])
  })

  test('is asked again no sooner than it says, also by the next agent', async () => {
    const first = world({ answers: [[429, { 'retry-after': '1.2' }]] })
    first.start()
    first.deploy(1, null)
    await until('it was refused', () => first.listed().some(({ tries }) => tries === 1))
    const { nextAt = 0 } = first.listed()[0] ?? {}
    await first.stop()
    const second = world({ dir: first.dir })
    second.start()
    await until('it is sent', () => second.sent.length === 1)
    expect(Date.now()).toBeGreaterThanOrEqual(nextAt)
  })

  test('and says that it never will is given up, in log and list, and the next is sent', async () => {
    const { deploy, start, sent, logs, listed, listings } = world({ answers: [404] })
    start()
    deploy(1)
    await until('the next is sent', () => sent.length === 2)
    expect(sent).toEqual(['1 has begun', '1 succeeded'])
    const line = `warn: slack of hello is not notified of start of deploy ${idOf(1)}: given up after 1 try: HTTP 404`
    expect(logs).toContain(line)
    await until('the list is written', () => listed().length === 2 && listed()[0]?.outcome)
    const listing = listings.at(-1)
    if (!listing) throw new Error()
    const text = linesOf('hello', listing).join('\n')
    expect(text).toMatch(/slack \(slack\): start, success, failure, stuck\n {2}last sent: success of deploy/)
    expect(text).toContain(`: start of deploy ${idOf(1)}, after 1 try: HTTP 404`)
  })

  test('is given up after a day', async () => {
    const { deploy, start, logs, journal } = world({ answers: Array(9).fill(500) })
    deploy(1, null, Date.now() - NOTICE_AGE_MS_MAX - 1)
    const waiting = journal.notices.first('hello', 'slack')
    for (let tries = 0; tries < 4; tries += 1) journal.notices.failed(waiting?.number ?? 0, 'HTTP 500', 0)
    start()
    await until('it is given up', () =>
      logs.some((line) => line.includes('given up after 5 tries: HTTP 500')),
    )
    expect(journal.notices.first('hello', 'slack')).toBeUndefined()
  })

  test('holds back no other', async () => {
    const notify = [destination(SLACK), destination({ ...SLACK, name: 'second' })]
    const { deploy, start, sent, listed } = world({ notify, answers: ['hangs'] })
    start()
    deploy(1)
    await until('the other has all', () => sent.length === 3)
    await until('it is listed', () => listed()[0]?.outcome)
    expect(listed().map((each) => [each.destination, each.moment, each.outcome])).toContainEqual([
      'second',
      'success',
      'sent',
    ])
  })

  test('for longer than anybody would wait crowds out its oldest', () => {
    const { deploy, journal } = world()
    for (let n = 1; n <= NOTICES_WAITING_MAX / 2 + 5; n += 1) deploy(n, SUCCEEDED, n)
    expect(journal.notices.first('hello', 'slack')?.notice?.deploy).toBe(idOf(6))
    const list = journal.notices.list('hello')
    expect(list.filter(({ outcome }) => outcome === null)).toHaveLength(NOTICES_WAITING_MAX)
    expect(list.at(-1)).toMatchObject({
      outcome: 'given-up',
      fault: expect.stringContaining('more than 500'),
    })
  })
})

test('what is over is forgotten but for the newest; what waits is not', () => {
  const { deploy, journal } = world()
  for (let n = 1; n <= NOTICES_ENDED_MAX; n += 1) deploy(n, SUCCEEDED, n)
  for (let n = 0; n < NOTICES_ENDED_MAX + 20; n += 1) {
    const first = journal.notices.first('hello', 'slack')
    if (first) journal.notices.ended(first.number, 'given-up', 1, 'no')
  }
  journal.trim(2)
  const count = (outcome: string | null) =>
    journal.notices.list('hello').filter((each) => each.outcome === outcome).length
  expect([count('given-up'), count(null)]).toEqual([NOTICES_ENDED_MAX, NOTICES_ENDED_MAX - 20])
  journal.trim(Date.now())
  expect([count('given-up'), count(null)]).toEqual([0, NOTICES_ENDED_MAX - 20])
})

describe('at the end', () => {
  test('what is due goes out first', async () => {
    const { deploy, start, sent, stop } = world()
    start()
    deploy(1)
    await stop(3000)
    expect(sent).toEqual(['1 has begun', '1 succeeded'])
  })

  test('one that hangs, or waits for its next try, holds it up no longer than it may', async () => {
    for (const answer of ['hangs', 500] as const) {
      const { deploy, start, sent, stop, journal, dir } = world({ answers: [answer] })
      start()
      deploy(1, null)
      await until('it is tried', () => sent.length === 1)
      expect(journal.notices.first('hello', 'slack')).toBeDefined()
      const startedAt = Date.now()
      await stop(100)
      expect(Date.now() - startedAt).toBeLessThan(1500)
      const next = world({ dir })
      expect(next.journal.notices.first('hello', 'slack')?.tries).toBe(answer === 500 ? 1 : 0)
    }
  })
})

test('no secret is in a log, a list or the journal', async () => {
  const { deploy, start, sent, logs, listings, stop, dir } = world({ answers: [302, 500, 404] })
  start()
  deploy(1)
  await until('all is tried', () => sent.length === 3)
  await stop()
  const { readFileSync, readdirSync } = process.getBuiltinModule('node:fs')
  const files = readdirSync(dir).map((name) => readFileSync(join(dir, name), 'latin1'))
  for (const text of [JSON.stringify(logs), JSON.stringify(listings), ...files])
    expect(text).not.toContain(TOKEN)
})
