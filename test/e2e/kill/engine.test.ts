// What takes a Docker engine of the test's own: one that is restarted in the middle of a roll, and one that sees small disks.

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { LoggedEvent } from '../../../shared/events.ts'
import { mountSmallDisk, type SmallDisk } from '../../faults/small-disk.ts'
import { startLoad, under } from '../../support/load.ts'
import { freePort } from '../../support/port.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../../support/ropeway.ts'
import { endAll, SEED_COMPOSE, seedNginxConf, startStack, until, type Stack } from '../../support/stack.ts'
import { faultsIn, logFaults, outcomeOf, type Promised } from './judge.ts'
import { look } from './look.ts'
import { ownEngine, type OwnEngine } from './own-engine.ts'
import { imageIdOf, type Version } from './version.ts'

/** The least that holds the files of a stack. */
const DISK_BYTES = 64 * 1024
const PAGE_BYTES = 4096
/** Less than what a roll adds to the file: it crosses into a page that a full disk does not have. */
const ROOM_BYTES = 6
const LOAD = { kind: 'idle', connections: 8, ms: 80 } as const

// An engine of one's own takes root and the machine's dockerd. Where they are missing, this file fails rather than be left out in silence.
const missing = [
  ...(process.getuid?.() === 0 ? [] : ['root']),
  ...(hasDockerd() ? [] : ['dockerd on the PATH']),
]

const ends: (() => Promise<void> | void)[] = []
let engine: OwnEngine
let stack: Stack
let ropeway: Ropeway
let composeDisk: SmallDisk
let proxyDisk: SmallDisk
let version: Version
let promised: Pick<Promised, 'nginx' | 'files'>
let port: number
let rounds = 0

describe('on an engine of its own', () => {
  beforeAll(async () => {
    if (missing.length > 0)
      throw new Error(`a Docker engine of the test’s own takes ${missing.join(' and ')}`)
    const folder = await mkdtemp('/tmp/ropeway-')
    ends.push(() => rm(folder, { recursive: true, force: true }))
    const untilEnd = { onTestFinished: (end: () => void) => void ends.push(end) }
    composeDisk = mountSmallDisk(untilEnd, folder, DISK_BYTES)
    await mkdir(join(folder, 'proxy'))
    proxyDisk = mountSmallDisk(untilEnd, join(folder, 'proxy'), DISK_BYTES)

    engine = await ownEngine()
    ends.push(() => engine.remove())
    await engine.start()
    await engine.load(['nginx:1.30', 'ropeway-test-app:v1', 'ropeway-test-app:v2', 'ropeway-test-app:v3'])
    process.env['DOCKER_HOST'] = engine.host

    port = await freePort()
    version = { image: 'ropeway-test-app:v1', imageId: await imageIdOf('v1'), message: 'v1' }
    const nginx = await paddedNginxConf()
    const files = {
      'docker-compose.yml': composeOf(version),
      'proxy/nginx.conf': nginx,
      'gate/README': 'see app/server.js',
    }
    const started = await startStack(files, undefined, folder)
    ends.push(() => started.remove())
    // A container's address may be another after a restart; what it publishes stays where it is.
    stack = { ...started, answers }
    promised = { nginx, files: (await readdir(folder, { recursive: true })).toSorted() }
    ropeway = await startRopeway({
      stacks: {
        hello: {
          compose: stack.composeFiles[0],
          health: { path: '/ready', interval: '50ms', timeout: '20s' },
          drain: { timeout: '5s' },
          allow: { images: ['ropeway-test-app'], env: ['MESSAGE'] },
        },
      },
    })
    ends.push(() => ropeway.stop())
  })
  afterEach((context) => ropeway?.explain(context))
  afterAll(async () => {
    await endAll(...ends.toReversed().map((end) => async () => end()))
  })

  test('the disk with nginx.conf is full: the roll is undone, and the next one succeeds', async () => {
    await fullDisk(proxyDisk, 'switch')
  })

  test('the disk with the compose file is full: the roll is undone, and the next one succeeds', async () => {
    await fullDisk(composeDisk, 'update')
  })

  test.for(['await-healthy', 'update', 'drain'] as const)(
    'it is restarted while a roll is at its first %s',
    async (kind) => {
      const tag = version.imageId === (await imageIdOf('v2')) ? 'v3' : 'v2'
      const gate = join(stack.folder, `gate/closed-${tag}`)
      const { body, wanted } = await asked(tag)
      await writeFile(gate, '')
      const load = await startLoad({ ...LOAD, ip: '127.0.0.1', port })
      const id = await ropeway.deploy('hello', body)
      await ropeway.reached(id, (step) => step.kind === kind)
      const from = Date.now()
      await engine.stop()
      await engine.start()
      await until(async () => (await answers(2)).length === 2, 'nginx answers again')
      const to = Date.now()
      await rm(gate)
      const events = await ropeway.outcome(id)
      // By then every container that it restarts is back, whatever became of the deploy.
      const final = await settled(events, wanted)
      expect(final.type).toMatch(/^(succeeded|failed)$/)
      const { failures } = await load.stop()
      expect(failures.filter(({ begunAt, at }) => begunAt > to || at < from)).toEqual([])
    },
  )
})

async function fullDisk(disk: SmallDisk, failing: string): Promise<void> {
  const { body, wanted } = await asked()
  disk.fill()
  const [load, events] = await under({ ...LOAD, ip: '127.0.0.1', port }, async () => {
    try {
      return await ropeway.roll('hello', body)
    } finally {
      disk.free()
    }
  })
  expect(await settled(events, wanted, failing !== 'switch')).toMatchObject({ type: 'failed' })
  const failed = stepsOf(events).find(({ problem }) => problem !== undefined)
  expect(failed?.step.kind).toBe(failing)
  expect(failed?.problem?.message).toMatch(/ENOSPC|no space/i)
  expect(load.failures).toEqual([])
  const next = await asked()
  expect(await settled(await ropeway.roll('hello', next.body), next.wanted)).toMatchObject({
    type: 'succeeded',
  })
}

/** An env roll, or one to an image too; what the stack runs when it was done. */
async function asked(tag?: string): Promise<{ body: object; wanted: Version }> {
  rounds += 1
  const message = `e${rounds}`
  const env = { MESSAGE: `{service},${message}` }
  if (tag === undefined) return { body: { env }, wanted: { ...version, message } }
  const imageId = await imageIdOf(tag)
  return { body: { image: `ropeway-test-app:${tag}`, env }, wanted: { image: imageId, imageId, message } }
}

/** Sees that the deploy ended truthfully and the stack is whole; its final event. */
async function settled(events: readonly LoggedEvent[], wanted: Version, isTold = true) {
  const promise = { ...promised, isTold, before: version, wanted, composeOf }
  const expected = outcomeOf(events, promise) ?? version
  expect([
    ...logFaults(events, { mayFail: true }),
    ...faultsIn(await look(stack), expected, promise),
  ]).toEqual([])
  version = expected
  return finalOf(events)
}

function composeOf({ image, message }: Version): string {
  return SEED_COMPOSE.replaceAll('ropeway-test-app:v1', image)
    .replaceAll(',v1', `,${message}`)
    .replaceAll('    expose:', '    volumes: [./gate:/gate]\n    restart: unless-stopped\n    expose:')
    .replace(
      '    volumes:\n',
      `    restart: unless-stopped\n    ports: ["127.0.0.1:${port}:80"]\n    volumes:\n`,
    )
}

/** So long that what a roll adds needs another page. */
async function paddedNginxConf(): Promise<string> {
  const text = await seedNginxConf()
  return `${text}# ${'-'.repeat(PAGE_BYTES - ROOM_BYTES - text.length - 3)}\n`
}

async function answers(count = 8): Promise<string[]> {
  const texts: string[] = []
  for (let n = 0; n < count; n += 1) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
    if (!response.ok) throw new Error(`nginx answers ${response.status}`)
    texts.push((await response.text()).trim())
  }
  return texts
}

function hasDockerd(): boolean {
  try {
    execFileSync('dockerd', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
