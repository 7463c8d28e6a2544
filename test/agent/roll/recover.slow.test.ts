// What becomes of a roll that its agent's end has interrupted, and of a stack whose way back failed too.

import { describe, expect, test } from 'vitest'
import { findFaults } from '../../../agent/roll/stuck/consistency.ts'
import { FakeWorld, type Life } from '../../support/fake-world.ts'
import type { Fault } from '../../support/world/faults.ts'
import { COMPOSE_PATH, proxyPath } from '../../support/world/stack-files.ts'

const V2 = { env: { MESSAGE: '{service},v2' } }
const V3 = { env: { MESSAGE: '{service},v3' } }
const IMAGE = 'ghcr.io/acme/hello'
const PROXY_PATH = proxyPath({ mount: 'file' })
const BEFORE = { service: 'app1', command: ['./migrate'], timeoutMs: 60_000, onRetry: 'fail' as const }

function waysOf({ events }: Life): string[] {
  return events.flatMap((event) => (event.type === 'recovering' ? [event.way] : []))
}

function problemOf({ end }: Life): { code: string; message: string } | undefined {
  return end && 'problem' in end ? end.problem : undefined
}

function commandsOf({ events }: Life): number {
  return events.filter(
    ({ type, ...rest }) =>
      type === 'step-finished' &&
      'facts' in rest &&
      (rest.facts as { exitCode?: number }).exitCode !== undefined,
  ).length
}

/** A roll whose agent ends at the fault, and the next agent's work on it. */
async function interrupted(world: FakeWorld, fault: Fault, request: object = V2): Promise<[Life, Life]> {
  const first = await world.failAt(fault).roll(request)
  expect(first.hasCrashed).toBe(true)
  return [first, await world.recover()]
}

describe('the next agent', () => {
  test('begins again what had touched nothing', async () => {
    const world = new FakeWorld()
    const crash: Fault = { method: 'engine.pull', nth: 1, kind: 'crash-after-effect' }
    const [, second] = await interrupted(world, crash, { image: `${IMAGE}:v2` })
    expect([waysOf(second), second.status]).toEqual([['again'], 'succeeded'])
    expect(await world.faultsAfter('changed')).toEqual([])
  })

  test('begins again once: a roll that ends its agent each time must not do so for ever', async () => {
    const world = new FakeWorld()
    const crash: Fault = { method: 'engine.pull', nth: 1, kind: 'crash' }
    const [, second] = await interrupted(world.failAt(crash), crash, { image: `${IMAGE}:v2` })
    expect([waysOf(second), second.status]).toEqual([['again'], 'succeeded'])
    const other = new FakeWorld()
    await other.failAt(crash).roll({ image: `${IMAGE}:v2` })
    const again = await other.failAt(crash).recover()
    expect(again.hasCrashed).toBe(true)
    const third = await other.recover()
    expect([waysOf(third), third.status, problemOf(third)?.code]).toEqual([[], 'failed', 'interrupted'])
    expect(await other.faultsAfter('unchanged')).toEqual([])
  })

  test('finishes a roll whose every instance runs the new version', async () => {
    const world = new FakeWorld()
    // app1, the last one, is healthy and about to be put back.
    const [, second] = await interrupted(world, { method: 'engine.hangUp', nth: 3, kind: 'crash' })
    expect([waysOf(second), second.status]).toEqual([['forward'], 'succeeded'])
    expect(second.end).toMatchObject({ changed: true, release: 2 })
    expect(await world.faultsAfter('changed')).toEqual([])
  })

  test('undoes a roll of which an instance still runs the old version', async () => {
    const world = new FakeWorld()
    const [, second] = await interrupted(world, { method: 'compose.up', nth: 2, kind: 'crash' })
    expect([waysOf(second), second.status, problemOf(second)?.code]).toEqual([
      ['back'],
      'failed',
      'interrupted',
    ])
    expect(await world.faultsAfter('unchanged')).toEqual([])
  })

  test('ends an interrupted way back by what it was begun for', async () => {
    const world = new FakeWorld()
    world.failAt({ method: 'compose.up', nth: 2, kind: 'throw' })
    const [, second] = await interrupted(world, { method: 'compose.up', nth: 3, kind: 'crash' })
    expect([waysOf(second), problemOf(second)?.code]).toEqual([['back'], 'engine-unreachable'])
    expect(await world.faultsAfter('unchanged')).toEqual([])
  })

  test('leaves a stack alone that a person has set right meanwhile', async () => {
    const world = new FakeWorld()
    const { files } = world
    const mine = [files.text(PROXY_PATH), files.text(COMPOSE_PATH)]
    const first = await world.failAt({ method: 'compose.up', nth: 1, kind: 'crash-after-effect' }).roll(V2)
    expect(first.hasCrashed).toBe(true)
    // Their nginx file again, with a comment of theirs; their compose file again; both told.
    files.inode(PROXY_PATH).text = `${mine[0]}# repaired by hand\n`
    files.replace(COMPOSE_PATH, mine[1] ?? '')
    const { signal } = new AbortController()
    await world.run(world.ports.compose.up(world.stack, 'app2', signal))
    world.nginx.hangUp()
    await world.settle()
    const writes = files.writes
    const second = await world.recover()
    expect([second.status, waysOf(second)]).toEqual(['failed', []])
    expect(problemOf(second)?.message).toMatch(/somebody has set the stack right since/)
    expect(files.writes).toBe(writes)
  })

  test('is stuck where a person has changed a file and the stack is not whole', async () => {
    const world = new FakeWorld()
    await world.failAt({ method: 'compose.up', nth: 1, kind: 'crash-after-effect' }).roll(V2)
    const text = `${world.files.text(PROXY_PATH)}# half repaired\n`
    world.files.inode(PROXY_PATH).text = text
    const second = await world.recover()
    expect(second.end).toMatchObject({
      type: 'stuck',
      problem: { code: 'interrupted' },
      undo: { code: 'nginx-changed' },
      damage: {
        files: expect.arrayContaining([
          { path: PROXY_PATH, state: 'changed' },
          { path: COMPOSE_PATH, state: 'half-way' },
        ]),
      },
    })
    expect(world.files.text(PROXY_PATH)).toBe(text)
  })

  test('takes its own half-written nginx file back, also where a person has edited the compose file', async () => {
    const world = new FakeWorld({ mount: 'file' })
    const { files } = world
    const [nginx, compose] = [files.text(PROXY_PATH), files.text(COMPOSE_PATH)]
    await world.failAt({ method: 'files.write', nth: 1, kind: 'crash-midway' }).roll(V2)
    expect(files.text(PROXY_PATH)).not.toBe(nginx)
    files.replace(COMPOSE_PATH, `${compose}# mine\n`)
    const second = await world.recover()
    expect([second.status, problemOf(second)?.code]).toEqual(['failed', 'interrupted'])
    expect([files.text(PROXY_PATH), files.text(COMPOSE_PATH)]).toEqual([nginx, `${compose}# mine\n`])
  })

  test('mends a file that was half written', async () => {
    const world = new FakeWorld()
    const before = world.files.text(PROXY_PATH)
    await world.failAt({ method: 'files.write', nth: 1, kind: 'crash-after-effect' }).roll(V2)
    const written = world.files.text(PROXY_PATH)
    const at = written.indexOf(' down') + 3
    world.files.inode(PROXY_PATH).text = written.slice(0, at) + before.slice(at)
    const second = await world.recover()
    expect([waysOf(second), second.status]).toEqual([['back'], 'failed'])
    const wrong = await world.faultsAfter('unchanged')
    expect(wrong.filter((fault) => !fault.includes('the nginx file is not the user’s but for'))).toEqual([])
  })
})

test('what a killed write has left beside a file is cleared away', async () => {
  const world = new FakeWorld()
  const crash: Fault = { method: 'files.write', nth: 2, kind: 'crash-midway' }
  const first = await world.failAt(crash).roll(V2)
  expect([first.hasCrashed, world.files.leftovers()]).toEqual([
    true,
    ['/srv/hello/.docker-compose.yml.ropeway-new'],
  ])
  expect((await world.recover()).status).toBe('failed')
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

describe('a command before the roll', () => {
  test.each([
    ['fail', [], 'failed', 1],
    ['skip', ['again'], 'succeeded', 1],
    ['run', ['again'], 'succeeded', 2],
  ] as const)(
    'that was running when the agent ended, on_retry %s: %j, %s',
    async (onRetry, ways, status, times) => {
      const world = new FakeWorld({ stack: { before: { ...BEFORE, onRetry } } })
      const [first, second] = await interrupted(world, {
        method: 'compose.run',
        nth: 1,
        kind: 'crash',
      })
      expect([waysOf(second), second.status]).toEqual([ways, status])
      const runs = [...first.calls, ...second.calls].filter(({ method }) => method === 'compose.run')
      expect(runs).toHaveLength(times)
      if (onRetry !== 'fail') expect(JSON.stringify(second.events)).toContain('nobody knows how far it came')
      expect(await world.faultsAfter(status === 'succeeded' ? 'changed' : 'unchanged')).toEqual([])
    },
  )

  test('that had ended does not run again', async () => {
    const world = new FakeWorld({ stack: { before: BEFORE } })
    // The step after it is a switch, which is noted before it is begun.
    const [, second] = await interrupted(world, { method: 'journal.remember', nth: 5, kind: 'crash' })
    expect([waysOf(second), second.status, commandsOf(second)]).toEqual([['again'], 'succeeded', 0])
    expect(JSON.stringify(second.events)).toContain('has run already')
  })
})

/** The second update fails, and so does its undoing. */
async function stuckWorld(): Promise<[FakeWorld, Life]> {
  const world = new FakeWorld()
  const life = await world
    .failAt({ method: 'compose.up', nth: 2, kind: 'throw', isPersistent: true })
    .roll(V2)
  expect(life.status).toBe('stuck')
  return [world, life]
}

describe('a stack that is stuck', () => {
  test('says who serves, which files differ, and what repairs it', async () => {
    const [world, life] = await stuckWorld()
    expect(life.end).toMatchObject({
      damage: {
        serving: ['app2'],
        notServing: [{ service: 'app1', why: 'nginx has it down' }],
        files: [
          { path: COMPOSE_PATH, state: expect.stringMatching(/half-way|as-before/) },
          { path: PROXY_PATH, state: 'half-way' },
        ],
      },
    })
    const { end } = life
    const repair = end?.type === 'stuck' ? (end.damage?.repair ?? []) : []
    expect(repair.at(-1)).toBe('ropeway resolve hello')
    expect(repair).toContain(`cat /var/lib/ropeway/stuck${PROXY_PATH} > ${PROXY_PATH}`)
    expect(repair.some((line) => line.startsWith(`docker compose -f ${COMPOSE_PATH} up -d --no-deps`))).toBe(
      true,
    )
    expect(world.stuck.kept[0]?.[PROXY_PATH]).not.toContain(' down')
    expect([...world.traffic.failures]).toEqual([])
  })

  test('takes nothing that comes by itself', async () => {
    const [world] = await stuckWorld()
    const picture = world.picture()
    const life = await world.roll(V3, { isAutomatic: true })
    expect([life.status, problemOf(life)?.code]).toEqual(['failed', 'stack-locked'])
    expect(world.picture()).toBe(picture)
  })

  test('first goes back when a person deploys, then rolls', async () => {
    const before = new FakeWorld().files.text(PROXY_PATH)
    const [world] = await stuckWorld()
    const life = await world.roll(V3)
    expect(life.status).toBe('succeeded')
    expect(life.events.some(({ type }) => type === 'undoing')).toBe(true)
    expect(world.stuck.read()).toBeUndefined()
    await world.settle()
    expect([world.files.text(PROXY_PATH), world.nginx.text()]).toEqual([before, before])
    for (const service of ['app1', 'app2'])
      expect(world.containers.ofService(service)[0]?.env['MESSAGE']).toBe(`${service},v3`)
    expect([...world.traffic.failures]).toEqual([])
  })

  test('by another deploy stays so when this one is undone', async () => {
    const world = new FakeWorld()
    await world.failAt({ method: 'compose.up', nth: 1, kind: 'crash' }).roll(V2)
    world.stuck.write({ deploy: 'another', at: 0, why: 'it was', record: '' })
    expect((await world.recover()).status).toBe('failed')
    expect(world.stuck.read()?.deploy).toBe('another')
  })

  test('stays locked when going back fails again', async () => {
    const [world] = await stuckWorld()
    const life = await world
      .failAt({ method: 'compose.up', nth: 1, kind: 'throw', isPersistent: true })
      .roll(V3)
    expect([life.status, problemOf(life)?.code]).toEqual(['failed', 'stack-locked'])
    expect(world.stuck.read()).toBeDefined()
  })

  test('rolls when a person has repaired it', async () => {
    const [world] = await stuckWorld()
    const note = world.stuck.read()
    const { signal } = new AbortController()
    const wrong = () => world.run(findFaults(world.stack, world.ports, signal, note?.record))
    expect(await wrong()).toContain(`app1 is down in ${PROXY_PATH}`)
    for (const files of world.stuck.kept)
      for (const [path, text] of Object.entries(files)) world.files.inode(path).text = text
    for (const service of ['app1', 'app2'])
      await world.run(world.ports.compose.up(world.stack, service, signal))
    world.nginx.hangUp()
    await world.settle()
    expect(await wrong()).toEqual([])
    const life = await world.roll(V3, {})
    expect([life.status, life.events.filter(({ type }) => type === 'undoing').length]).toEqual([
      'succeeded',
      1,
    ])
  })
})

describe('a rollback', () => {
  test('goes back to the release before, by digest, and becomes one', async () => {
    const world = new FakeWorld()
    for (const tag of ['v1', 'v2']) {
      const life = await world.roll({ image: `${IMAGE}:${tag}` })
      expect(life.status).toBe('succeeded')
    }
    // v1 ran before, unpinned: its release is the first; v1 by its digest is the same version.
    expect(world.releases.list().map(({ number, of }) => [number, of])).toEqual([
      [1, 1],
      [2, 2],
    ])
    const life = await world.roll({ release: 'previous' })
    expect(life.end).toMatchObject({ type: 'succeeded', changed: true, release: 3 })
    expect(world.files.text(COMPOSE_PATH)).toMatch(/image: ghcr\.io\/acme\/hello:v1@sha256:/)
    expect(world.releases.list().at(-1)).toMatchObject({ number: 3, of: 1 })
    expect(await world.faultsAfter('changed')).toEqual([])
  })

  test('takes a variable away that the release had not', async () => {
    const world = new FakeWorld({ stack: { allow: { images: undefined, env: ['MESSAGE', 'COLOUR'] } } })
    const before = world.files.text(COMPOSE_PATH)
    expect((await world.roll({ env: { COLOUR: 'blue' } })).status).toBe('succeeded')
    expect(world.files.text(COMPOSE_PATH)).toContain('COLOUR=blue')
    expect((await world.roll({ release: 1 })).status).toBe('succeeded')
    expect(world.files.text(COMPOSE_PATH).replaceAll(/image: .*/g, '')).toBe(
      before.replaceAll(/image: .*/g, ''),
    )
  })

  test('works when the registry is gone', async () => {
    const world = new FakeWorld()
    await world.roll({ image: `${IMAGE}:v2` })
    world.failAt({ method: 'engine.pull', nth: 1, kind: 'throw', isPersistent: true })
    expect((await world.roll({ release: 'previous' })).status).toBe('succeeded')
  })

  test('to nothing is refused', async () => {
    const world = new FakeWorld()
    const life = await world.roll({ release: 'previous' })
    expect([life.status, problemOf(life)?.code]).toEqual(['failed', 'release-unknown'])
  })
})

test('an older build does not overwrite a newer one', async () => {
  const world = new FakeWorld()
  expect((await world.roll({ ...V3, builtAt: '2026-11-20T10:00:00Z' })).status).toBe('succeeded')
  const older = await world.roll({ ...V2, builtAt: '2026-11-20T09:00:00Z' })
  expect([older.status, problemOf(older)?.code]).toEqual(['failed', 'request-outdated'])
  expect((await world.roll(V2)).status).toBe('succeeded')
})

test.each([V2, { image: `${IMAGE}:v2` }])('force recreates what runs already: %j', async (request) => {
  const world = new FakeWorld()
  await world.roll(request)
  const before = world.containers.ofService('app1')[0]?.id
  expect((await world.roll(request)).end).toMatchObject({ changed: false })
  expect(world.containers.ofService('app1')[0]?.id).toBe(before)
  expect((await world.roll({ ...request, force: true })).end).toMatchObject({ changed: true, release: 2 })
  expect(world.containers.ofService('app1')[0]?.id).not.toBe(before)
})

test('a roll that takes longer than its deadline is undone', async () => {
  const world = new FakeWorld({ stack: { deadlineMs: 2000 } })
  const life = await world.failAt({ method: 'compose.up', nth: 2, kind: 'hang' }).roll(V2)
  expect([life.status, problemOf(life)?.code]).toEqual(['failed', 'deadline'])
  // The update's own deadline is minutes away.
  expect(life.end && 'ms' in life.end && life.end.ms).toBeLessThan(30_000)
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('a cancel lets an update end, and undoes it', async () => {
  const world = new FakeWorld()
  const life = await world.failAt({ method: 'compose.up', nth: 1, kind: 'cancel' }).roll(V2)
  expect(life.end).toMatchObject({ type: 'cancelled', ms: expect.any(Number) })
  const updates = life.events.filter((event) => event.type === 'step-finished' && event.step === 2)
  expect(updates).toHaveLength(1)
  expect(await world.faultsAfter('unchanged')).toEqual([])
})
