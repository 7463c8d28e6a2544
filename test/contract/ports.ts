// What every world must do for the agent. The fake one of the unit tests and the real adapters on a real engine pass the same suite,
// so that what the fake world proves of a roll holds in the real one.

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { StackConfig } from '../../agent/config/config.ts'
import type { Container, HostPorts } from '../../agent/ports.ts'

/** A stack of nginx, app1 and app2 (port 3000, `MESSAGE=app1,v1`), as the seed has it, with the nginx file mounted by itself. */
export interface Subject {
  readonly ports: HostPorts
  readonly stack: StackConfig
  readonly project: string
  readonly nginxPath: string
  /** Waits for something in the world's own time. */
  run<T>(work: Promise<T>): Promise<T>
  /** What tells one file from another that has taken its path. */
  inode(path: string): Promise<unknown>
  /** Makes a link that leads to a file. */
  link(path: string, target: string): Promise<void>
  /** Leaves beside a file what a write of it by rename that was killed leaves; whether that is there. */
  leaveHalf(path: string): Promise<void>
  hasHalf(path: string): Promise<boolean>
  /** The name of an image that a registry has and the engine has not, and its digest. */
  pushed(): Promise<{ ref: string; digest: string }>
  /** Has both apps work on a request through nginx for a while. */
  hold(ms: number): Promise<void>
  remove(): Promise<void>
}

/** A real engine on a busy machine takes its time. */
const WAIT_MS_MAX = 120_000
/** What an abort ends where it would take this long. */
const LONG_SECONDS = 30
/** A third of it: on a busy machine the end of a program takes seconds, and the agent itself waits one for that of docker compose. */
const ABORT_MS_MAX = 10_000
const NOBODY = '0'.repeat(64)

function signal(): AbortSignal {
  return new AbortController().signal
}

function addressOf({ addresses }: Container): string {
  return Object.values(addresses)[0]?.[0] ?? ''
}

export function testPorts(begin: () => Promise<Subject>): void {
  let subject: Subject
  const run = <T>(work: (ports: HostPorts) => Promise<T>): Promise<T> => subject.run(work(subject.ports))
  const all = async (): Promise<Record<string, Container>> => {
    const containers = await run(({ engine }) => engine.containers(subject.project, signal()))
    return Object.fromEntries(containers.map((container) => [container.service, container]))
  }
  const one = async (service: string): Promise<Container> => {
    const container = (await all())[service]
    if (!container) throw new Error(`there is no container of ${service}`)
    return container
  }
  const get = async (service: string, port: number, tls = false) => {
    const target = { ip: addressOf(await one(service)), port, path: '/', host: 'localhost', tls }
    return await run(({ http }) => http.get(target, 2000, signal()))
  }
  const composePath = (): string => subject.stack.compose[0] ?? ''
  const edit = async (from: string, to: string): Promise<string> => {
    const before = await run(({ files }) => files.read(composePath()))
    await run(({ files }) => files.write(composePath(), before.replace(from, to), 'rename'))
    return before
  }

  vi.setConfig({ testTimeout: WAIT_MS_MAX, hookTimeout: WAIT_MS_MAX })
  beforeAll(async () => {
    subject = await begin()
  })
  afterAll(async () => {
    await subject.remove()
  })

  test('the containers of a project, and of no other', async () => {
    const app = await one('app1')
    expect(app).toMatchObject({ state: 'running', restarts: 0, health: undefined, exitCode: 0 })
    expect(app.env['MESSAGE']).toBe('app1,v1')
    expect(app.imageId).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(app.pid).toBeGreaterThan(0)
    expect(addressOf(app)).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
    expect(app.aliases).toContain('app1')
    expect(app.composeFiles).toEqual(subject.stack.compose)
    expect(app.envFiles).toEqual([])
    const { compose, project } = subject.stack
    expect(await run(({ engine }) => engine.envFiles(compose, project, signal()))).toEqual([])
    expect((await one('nginx')).mounts).toContainEqual({
      source: subject.nginxPath,
      target: '/etc/nginx/nginx.conf',
    })
    expect(await run(({ engine }) => engine.containers('no-such-project', signal()))).toEqual([])
    const some = await run(({ engine }) => engine.containers(subject.project, signal(), ['app2', 'nobody']))
    expect(some.map(({ service }) => service)).toEqual(['app2'])
  })

  test('one container as it is, and none when it is gone', async () => {
    const { id } = await one('app1')
    expect((await run(({ engine }) => engine.container(id, signal())))?.id).toBe(id)
    expect(await run(({ engine }) => engine.container(NOBODY, signal()))).toBeUndefined()
  })

  test('an image by its name, and none when it is absent', async () => {
    const { image, imageId } = await one('app1')
    expect((await run(({ engine }) => engine.image(image, signal())))?.id).toBe(imageId)
    expect((await run(({ engine }) => engine.image(imageId, signal())))?.tags).toContain(image)
    expect(await run(({ engine }) => engine.image('ropeway-nobody:v0', signal()))).toBeUndefined()
    const platform = await run(({ engine }) => engine.platform(signal()))
    expect(platform).toMatch(/^linux\/[a-z0-9]+$/)
    expect((await run(({ engine }) => engine.image(image, signal())))?.platform).toBe(platform)
  })

  test('the images that containers are made from', async () => {
    const inUse = await run(({ engine }) => engine.imagesInUse(signal()))
    for (const { imageId } of Object.values(await all())) expect(inUse).toContain(imageId)
    expect(inUse).not.toContain(`sha256:${NOBODY}`)
  })

  test('a name of our own keeps an image, and is taken off again', async () => {
    const { image, imageId } = await one('app1')
    const name = `ropeway.invalid/${subject.project}:7`
    await run(({ engine }) => engine.tag(imageId, name, signal()))
    const found = await run(({ engine }) => engine.image(name, signal()))
    expect(found?.id).toBe(imageId)
    expect(found?.tags).toEqual(expect.arrayContaining([image, name]))
    expect(await run(({ engine }) => engine.untag(name, signal()))).toBe(true)
    expect(await run(({ engine }) => engine.image(name, signal()))).toBeUndefined()
    expect(await run(({ engine }) => engine.untag(name, signal()))).toBe(false)
    expect((await run(({ engine }) => engine.image(image, signal())))?.id).toBe(imageId)
  })

  test('a stopped container starts again, and one that runs is none to stop at', async () => {
    const before = await one('app2')
    await run(({ engine }) => engine.stop(before.id, signal()))
    expect(await one('app2')).toMatchObject({ id: before.id, state: 'exited', pid: 0, addresses: {} })
    await run(({ engine }) => engine.stop(before.id, signal()))
    const works: ((ports: HostPorts) => Promise<unknown>)[] = [
      ({ engine }) => engine.exec(before.id, ['true'], signal()),
      ({ engine }) => engine.exec(NOBODY, ['true'], signal()),
      ({ engine }) => engine.hangUp(before.id, signal()),
    ]
    for (const work of works) await expect(run(work)).rejects.toMatchObject({ code: 'container-exited' })
    await run(({ engine }) => engine.start(before.id, signal()))
    await run(({ engine }) => engine.start(before.id, signal()))
    const after = await one('app2')
    expect(after).toMatchObject({ id: before.id, state: 'running' })
    expect(after.pid).toBeGreaterThan(0)
    expect(after.pid).not.toBe(before.pid)
    expect(after.startedAt > before.startedAt).toBe(true)
  })

  test('a container that is gone cannot be started or named, and need not be stopped or removed', async () => {
    for (const work of [
      ({ engine }: HostPorts) => engine.start(NOBODY, signal()),
      ({ engine }: HostPorts) => engine.rename(NOBODY, 'nobody', signal()),
    ])
      await expect(run(work)).rejects.toMatchObject({ code: 'container-missing' })
    await run(({ engine }) => engine.stop(NOBODY, signal()))
    await run(({ engine }) => engine.remove(NOBODY, signal()))
  })

  test('what a container has written since a time', async () => {
    const { id } = await one('nginx')
    const say = (word: string) =>
      run(({ engine }) => engine.exec(id, ['sh', '-c', `echo ${word} >/proc/1/fd/1`], signal()))
    await say('before')
    await run(({ clock }) => clock.sleep(20, signal()))
    const since = await run(({ clock }) => Promise.resolve(clock.now()))
    await say('after')
    const output = await run(({ engine }) => engine.outputSince(id, since, signal()))
    expect(output).toContain('after\n')
    expect(output).not.toContain('before')
    expect(await run(({ engine }) => engine.outputSince(id, since - 60_000, signal()))).toContain('before\n')
  })

  test('a command’s exit code and both its outputs', async () => {
    const { id } = await one('nginx')
    const argv = ['sh', '-c', 'echo out; echo err >&2; exit 3']
    const result = await run(({ engine }) => engine.exec(id, argv, signal()))
    expect(result).toEqual({ exitCode: 3, stdout: 'out\n', stderr: 'err\n' })
  })

  test('nginx’s files byte for byte, whatever they hold: on the host, in the container, in nginx’s dump', async () => {
    const nginx = await one('nginx')
    const before = await run(({ files }) => files.read(subject.nginxPath, 'bytes'))
    for (const text of [`${before}# \xf6\xdf \xc3\xb6\n`, before]) {
      await run(({ files }) => files.write(subject.nginxPath, text, 'in-place', 'bytes'))
      expect(await run(({ files }) => files.read(subject.nginxPath, 'bytes'))).toBe(text)
      const seen = await run(({ engine }) => engine.readFile(nginx, '/etc/nginx/nginx.conf', signal()))
      expect(seen).toBe(text)
      const dump = await run(({ engine }) => engine.exec(nginx.id, ['nginx', '-T'], signal()))
      expect(dump.exitCode).toBe(0)
      expect(dump.stdout).toContain(`# configuration file /etc/nginx/nginx.conf:\n${text}\n`)
    }
  })

  test('a text that is not UTF-8 is refused, not guessed at', async () => {
    const before = await run(({ files }) => files.read(composePath(), 'bytes'))
    await run(({ files }) => files.write(composePath(), `${before}# \xf6\xdf\n`, 'rename', 'bytes'))
    await expect(run(({ files }) => files.read(composePath()))).rejects.toMatchObject({
      code: 'compose-invalid',
    })
    await run(({ files }) => files.write(composePath(), before, 'rename', 'bytes'))
  })

  test('what a killed write has left is tidied away, also by a link’s name', async () => {
    const link = `${composePath()}.link`
    await subject.link(link, composePath())
    expect(await run(({ files }) => files.real(link))).toBe(
      await run(({ files }) => files.real(composePath())),
    )
    for (const path of [composePath(), link]) {
      await subject.leaveHalf(composePath())
      expect(await subject.hasHalf(composePath())).toBe(true)
      await run(({ files }) => files.tidy(path))
      expect(await subject.hasHalf(composePath())).toBe(false)
    }
  })

  test('a pull brings what a registry has, and the registry says what that is', async () => {
    const { ref, digest } = await subject.pushed()
    expect(await run(({ engine }) => engine.image(ref, signal()))).toBeUndefined()
    await run(({ engine }) => engine.pull(ref, () => {}, signal()))
    const image = await run(({ engine }) => engine.image(ref, signal()))
    const pinned = `${ref.replace(/:[^:/]+$/, '')}@${digest}`
    expect([...(image?.digests ?? []), ...(image?.unproven ?? [])]).toContain(pinned)
    expect(await run(({ engine }) => engine.isInRegistry(pinned, signal()))).toBe(true)
    const other = `${ref.replace(/:[^:/]+$/, '')}@sha256:${NOBODY}`
    expect(await run(({ engine }) => engine.isInRegistry(other, signal()))).toBe(false)
  })

  test('a hang-up makes the master start new workers, and the old ones quit', async () => {
    const nginx = await one('nginx')
    const look = () => run(({ engine }) => engine.processes(nginx, signal()))
    const before = await look()
    const master = before.find(({ title }) => title.startsWith('nginx: master process'))
    expect(master?.pid).toBe(nginx.pid)
    const old = before.filter(
      ({ parent, title }) => parent === master?.pid && title === 'nginx: worker process',
    )
    expect(old.length).toBeGreaterThan(0)
    await run(({ engine }) => engine.hangUp(nginx.id, signal()))
    for (let look0 = 0; ; look0 += 1) {
      const now = await look()
      const isNew = now.some(
        ({ pid, title }) => title === 'nginx: worker process' && !old.some((worker) => worker.pid === pid),
      )
      const isOldGone = old.every(({ pid }) =>
        now.every(
          (worker) => worker.pid !== pid || worker.title === 'nginx: worker process is shutting down',
        ),
      )
      if (isNew && isOldGone) break
      expect(look0).toBeLessThan(200)
      await run(({ clock }) => clock.sleep(20, signal()))
    }
  })

  test('a connection that works is counted where it goes to', async () => {
    const containers = await all()
    const { nginx, app1 } = containers
    if (!nginx || !app1) throw new Error('the stack does not run')
    await subject.hold(1500)
    const count = (port: number) =>
      run(({ engine }) => engine.connections(nginx, [{ ip: addressOf(app1), port }], signal()))
    expect(await count(3000)).toBeGreaterThanOrEqual(1)
    expect(await count(3001)).toBe(0)
    expect(
      await run(({ engine }) => engine.connections(nginx, [{ ip: '192.0.2.1', port: 3000 }], signal())),
    ).toBe(0)
  })

  test('a file written in place is the same file, a renamed one is another', async () => {
    for (const [how, isSame] of [
      ['in-place', true],
      ['rename', false],
    ] as const) {
      const path = how === 'in-place' ? subject.nginxPath : composePath()
      const text = await run(({ files }) => files.read(path))
      for (const next of [`${text}# longer\n`, text]) {
        const inode = await subject.inode(path)
        await run(({ files }) => files.write(path, next, how))
        expect(await run(({ files }) => files.read(path))).toBe(next)
        expect((await subject.inode(path)) === inode).toBe(isSame)
        await run(({ files }) => files.tidy(path))
        expect(await run(({ files }) => files.real(path))).toBe(path)
      }
    }
  })

  test('an answer has a status, a refusal is a fault, as is TLS where none is spoken', async () => {
    expect(await get('app2', 3000)).toEqual({ status: 200 })
    expect(await get('app2', 3001)).toEqual({ fault: 'ECONNREFUSED' })
    expect(await get('app2', 3000, true)).toEqual({ fault: 'EPROTO' })
    expect(await get('nginx', 80)).toEqual({ status: 200 })
    expect(await get('nginx', 81)).toEqual({ fault: 'ECONNREFUSED' })
    expect(await get('nginx', 80, true)).toEqual({ fault: 'EPROTO' })
  })

  test('a program that a container has not is an exit code', async () => {
    const { id } = await one('nginx')
    const { exitCode } = await run(({ engine }) => engine.exec(id, ['ropeway-nobody'], signal()))
    expect([126, 127]).toContain(exitCode)
  })

  test('a file that is not there can be neither read nor written, and its path is said', async () => {
    const path = `${composePath()}-gone`
    const works: ((ports: HostPorts) => Promise<unknown>)[] = [
      ({ files }) => files.read(path),
      ({ files }) => files.write(path, '', 'rename'),
      ({ files }) => files.write(path, '', 'in-place'),
      ({ files }) => files.checkWritable(path, 'in-place'),
    ]
    for (const work of works) {
      await expect(run(work)).rejects.toMatchObject({ code: 'file-unusable' })
      await expect(run(work)).rejects.toThrow(path)
    }
    await run(({ files }) => files.checkWritable(composePath(), 'rename'))
  })

  test('what compose makes of the files, and of other texts in their place', async () => {
    const { stack } = subject
    const model = await run(({ compose }) => compose.model(stack, {}, signal()))
    expect(model.project).toBe(subject.project)
    expect(model.services['app1']?.env['MESSAGE']).toBe('app1,v1')
    expect(model.services['nginx']?.mounts).toContainEqual({
      source: subject.nginxPath,
      target: '/etc/nginx/nginx.conf',
    })
    const text = await run(({ files }) => files.read(composePath()))
    const replaced = { [composePath()]: text.replace('app1,v1', 'app1,$$$$5') }
    const other = await run(({ compose }) => compose.model(stack, replaced, signal()))
    expect(other.services['app1']?.env['MESSAGE']).toBe('app1,$5')
    expect(other.services['app2']).toEqual(model.services['app2'])
    expect(other.rest).toEqual(model.rest)
    expect(await run(({ files }) => files.read(composePath()))).toBe(text)
  })

  test('a file that compose cannot read is compose-invalid', async () => {
    const replaced = { [composePath()]: 'services: ]' }
    await expect(
      run(({ compose }) => compose.model(subject.stack, replaced, signal())),
    ).rejects.toMatchObject({ code: 'compose-invalid' })
  })

  test('up recreates the one service that has changed, and nothing when nothing has', async () => {
    const before = await all()
    const text = await edit('app1,v1', 'app1,v2')
    // compose may hash what a service depends on too, which must not stop or start for it.
    await edit('  app1:\n', '  app1:\n    depends_on: [app2]\n')
    await run(({ compose }) => compose.model(subject.stack, {}, signal()))
    await run(({ engine }) => engine.stop(before['app2']!.id, signal()))
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    expect((await one('app2')).state).toBe('exited')
    await run(({ engine }) => engine.start(before['app2']!.id, signal()))
    const changed = await all()
    expect(changed['app1']?.id).not.toBe(before['app1']?.id)
    expect(changed['app1']?.env['MESSAGE']).toBe('app1,v2')
    for (const service of ['app2', 'nginx']) expect(changed[service]?.id).toBe(before[service]?.id)
    expect(await run(({ engine }) => engine.container(before['app1']!.id, signal()))).toBeUndefined()
    const hashes = await run(({ compose }) => compose.hashes(subject.stack, signal()))
    for (const [service, { configHash }] of Object.entries(changed))
      expect(configHash).toBe(hashes[service]?.[0])
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    expect((await one('app1')).id).toBe(changed['app1']?.id)
    await run(({ files }) => files.write(composePath(), text, 'rename'))
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
  })

  test('up of an image that is not there is compose-failed', async () => {
    const { image } = await one('app1')
    const text = await edit(image, 'ropeway-nobody:v0')
    await expect(run(({ compose }) => compose.up(subject.stack, 'app1', signal()))).rejects.toMatchObject({
      code: 'compose-failed',
    })
    await run(({ files }) => files.write(composePath(), text, 'rename'))
    expect((await one('app1')).state).toBe('running')
  })

  test('up starts a container that has stopped, and makes a new one where it is told to', async () => {
    const before = await one('app1')
    await run(({ engine }) => engine.stop(before.id, signal()))
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    expect(await one('app1')).toMatchObject({ id: before.id, state: 'running' })
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal(), { recreate: true }))
    const after = await one('app1')
    expect(after).toMatchObject({ name: before.name, state: 'running', configHash: before.configHash })
    expect(after.id).not.toBe(before.id)
  })

  test('up makes one that is gone', async () => {
    const before = await one('app1')
    await run(({ engine }) => engine.remove(before.id, signal()))
    expect((await all())['app1']).toBeUndefined()
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    expect(await one('app1')).toMatchObject({ name: before.name, state: 'running' })
  })

  test('up gives a container its own name back', async () => {
    const { id, name } = await one('app1')
    await run(({ engine }) => engine.rename(id, `0123456789ab_${name}`, signal()))
    expect((await run(({ engine }) => engine.container(`0123456789ab_${name}`, signal())))?.id).toBe(id)
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    expect(await one('app1')).toMatchObject({ id, name, state: 'running' })
  })

  const MOMENTS: Record<string, (now: Container[], old: Container) => boolean> = {
    'as the new container is there': (now) => now.length > 1,
    'as the old one has stopped': (now, { id }) =>
      now.some((found) => found.id === id && found.state === 'exited'),
    'as the old one is gone': (now, { id }) => now.length > 0 && now.every((found) => found.id !== id),
  }
  test.each(Object.keys(MOMENTS))('up can be killed %s, and done again or undone', async (moment) => {
    const isThen = MOMENTS[moment]!
    for (const way of ['forward', 'back']) {
      const old = await one('app1')
      const text = await edit('app1,v1', 'app1,v2')
      await run(async ({ engine, compose, clock }) => {
        const killed = new AbortController()
        const going = compose.up(subject.stack, 'app1', killed.signal).catch(() => {})
        const end = { isOver: false }
        void going.then(() => (end.isOver = true))
        const look = () => engine.containers(subject.project, signal(), ['app1'])
        while (!end.isOver && !isThen(await look(), old)) await clock.sleep(2, signal())
        killed.abort(new Error('killed'))
        await going
      })
      if (way === 'back') await run(({ files }) => files.write(composePath(), text, 'rename'))
      await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
      const now = await run(({ engine }) => engine.containers(subject.project, signal(), ['app1']))
      expect(now).toHaveLength(1)
      expect(now[0]).toMatchObject({ name: old.name, state: 'running' })
      expect(now[0]?.env['MESSAGE']).toBe(way === 'back' ? 'app1,v1' : 'app1,v2')
      await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
      expect((await one('app1')).id).toBe(now[0]?.id)
      await run(({ files }) => files.write(composePath(), text, 'rename'))
      if (way === 'forward') await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    }
  })

  test('a one-off command runs by other texts, beside the service’s container', async () => {
    const before = await all()
    const text = await run(({ files }) => files.read(composePath()))
    const oneOff = (script: string, replaced: Readonly<Record<string, string>> = {}) => {
      const options = { command: ['sh', '-c', script], name: `${subject.project}-before`, replaced }
      return run(({ compose }) => compose.run(subject.stack, 'app1', options, signal()))
    }
    const { exitCode, log } = await oneOff('echo out; echo err >&2; exit 3')
    expect(exitCode).toBe(3)
    expect(log.toSorted()).toEqual(['err', 'out'])
    expect(await oneOff('exit 0')).toEqual({ exitCode: 0, log: [] })
    const replaced = { [composePath()]: text.replace(before['app1']!.image, 'ropeway-nobody:v0') }
    const failed = await oneOff('echo out', replaced)
    expect(failed.exitCode).not.toBe(0)
    expect(failed.log.join()).toMatch(/no such image/i)
    expect(await all()).toEqual(before)
    const left = await run(({ engine }) => engine.container(`${subject.project}-before`, signal()))
    expect(left).toBeUndefined()
  })

  test('one at a time has a stack, and says who and since when', async () => {
    const lock = await run(({ locks }) => locks.take(subject.stack, 'deploy 7 by ana'))
    const second = run(({ locks }) => locks.take(subject.stack, 'deploy 8'))
    await expect(second).rejects.toMatchObject({ code: 'stack-busy' })
    await expect(second).rejects.toThrow(/deploy 7 by ana.* since \d\d:\d\d:\d\dZ/)
    await run(() => lock.release())
    const next = await run(({ locks }) => locks.take(subject.stack, 'deploy 8'))
    await run(() => lock.release()) // once more: it is another's by now
    await expect(run(({ locks }) => locks.take(subject.stack, 'deploy 9'))).rejects.toThrow(/deploy 8/)
    await run(() => next.release())
  })

  test('nothing is left running of an agent that is gone, when there was none', async () => {
    await run(({ compose }) => compose.endOrphans(subject.stack, signal()))
  })

  test('a healthcheck as the compose file has it, with Docker’s own defaults', async () => {
    const text = await edit(
      '    expose:',
      '    healthcheck: { test: [CMD, "true"], interval: 1m30s, start_period: 2s }\n    expose:',
    )
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    const { health, healthcheck } = await one('app1')
    expect(healthcheck).toEqual({
      test: ['CMD', 'true'],
      intervalMs: 90_000,
      timeoutMs: 30_000,
      retries: 3,
      startPeriodMs: 2000,
      startIntervalMs: 0,
    })
    expect(health).toBe('starting')
    await run(({ files }) => files.write(composePath(), text, 'rename'))
    await run(({ compose }) => compose.up(subject.stack, 'app1', signal()))
    expect((await one('app1')).healthcheck).toBeUndefined()
  })

  test('an abort ends each wait at once, with its reason', async () => {
    const nginx = await one('nginx')
    const ip = addressOf(nginx)
    const long = ['sleep', String(LONG_SECONDS)]
    const waits: Record<string, (ports: HostPorts, signal: AbortSignal) => Promise<unknown>> = {
      containers: ({ engine }, stop) => engine.containers(subject.project, stop),
      container: ({ engine }, stop) => engine.container(nginx.id, stop),
      envFiles: ({ engine }, stop) => engine.envFiles(subject.stack.compose, undefined, stop),
      image: ({ engine }, stop) => engine.image('nginx:1.30', stop),
      platform: ({ engine }, stop) => engine.platform(stop),
      imagesInUse: ({ engine }, stop) => engine.imagesInUse(stop),
      untag: ({ engine }, stop) => engine.untag('nginx:1.30', stop),
      start: ({ engine }, stop) => engine.start(nginx.id, stop),
      stop: ({ engine }, stop) => engine.stop(nginx.id, stop),
      rename: ({ engine }, stop) => engine.rename(nginx.id, 'nobody', stop),
      remove: ({ engine }, stop) => engine.remove(nginx.id, stop),
      outputSince: ({ engine }, stop) => engine.outputSince(nginx.id, 0, stop),
      run: ({ compose }, stop) =>
        compose.run(subject.stack, 'app2', { command: long, name: 'nobody', replaced: {} }, stop),
      exec: ({ engine }, stop) => engine.exec(nginx.id, long, stop),
      isInRegistry: ({ engine }, stop) => engine.isInRegistry(`127.0.0.1:9/nobody@sha256:${NOBODY}`, stop),
      pull: ({ engine }, stop) => engine.pull('127.0.0.1:9/nobody:v0', () => {}, stop),
      logs: ({ engine }, stop) => engine.logs(nginx.id, 5, stop),
      model: ({ compose }, stop) => compose.model(subject.stack, {}, stop),
      hashes: ({ compose }, stop) => compose.hashes(subject.stack, stop),
      up: ({ compose }, stop) => compose.up(subject.stack, 'app2', stop),
      get: ({ http }, stop) => http.get({ ip, port: 80, path: '/', host: 'x' }, 2000, stop),
      sleep: ({ clock }, stop) => clock.sleep(LONG_SECONDS * 1000, stop),
    }
    for (const [name, wait] of Object.entries(waits)) {
      const stop = new AbortController()
      const reason = new Error(`enough of ${name}`)
      const startedAt = performance.now()
      const waiting = wait(subject.ports, stop.signal)
      stop.abort(reason)
      await expect(waiting, name).rejects.toBe(reason)
      expect(performance.now() - startedAt, name).toBeLessThan(ABORT_MS_MAX)
    }
    expect(await one('nginx')).toEqual(nginx)
  })
}
