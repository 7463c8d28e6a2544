// The real adapters on a real engine do for the agent what the fake world does.

import { access, chmod, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { beforeAll, expect, test, vi } from 'vitest'
import { dockerEngine } from '../../agent/adapters/engine/engine.ts'
import { realPorts } from '../../agent/adapters/index.ts'
import type { StackConfig } from '../../agent/config/config.ts'
import { testPorts } from '../contract/ports.ts'
import { startRegistry, type Registry } from '../support/registry.ts'
import { freePort } from '../support/port.ts'
import { buildApp, docker, endAll, startStack, until, type Stack } from '../support/stack.ts'
import { STACK_DEFAULTS } from '../support/stack-config.ts'

const ports = realPorts()
const signal = new AbortController().signal
let stack: Stack
let registry: Registry

const halfOf = (path: string) => join(dirname(path), `.${basename(path)}.ropeway-new`)

beforeAll(buildApp, 300_000)

testPorts(async () => {
  registry = await startRegistry(await freePort())
  stack = await startStack()
  const config: StackConfig = {
    name: 'hello',
    compose: [join(stack.folder, 'docker-compose.yml')],
    project: stack.project,
    ...STACK_DEFAULTS,
    health: { ...STACK_DEFAULTS.health, timeoutMs: 10_000 },
    drainTimeoutMs: 10_000,
    triggers: [],
  }
  return {
    ports,
    stack: config,
    project: stack.project,
    nginxPath: join(stack.folder, 'proxy/nginx.conf'),
    run: (work) => work,
    inode: async (path) => (await stat(path)).ino,
    link: (path, target) => symlink(target, path),
    leaveHalf: (path) => writeFile(halfOf(path), 'half of it'),
    hasHalf: (path) =>
      access(halfOf(path)).then(
        () => true,
        () => false,
      ),
    pushed: async () => ({
      ref: `${registry.address}/app:v1`,
      digest: await registry.pushUnique('ropeway-test-app:v1', 'app:v1'),
    }),
    hold: async (ms) => {
      // Nobody waits for the answers: the stack may be gone before them.
      for (let n = 0; n < 4; n += 1) fetch(`http://${stack.ip}/?ms=${ms}`, { method: 'POST' }).catch(() => {})
      const [nginx, ...apps] = ['nginx', 'app1', 'app2']
      const containers = await ports.engine.containers(stack.project, signal)
      const of = (service: string | undefined) => containers.find((one) => one.service === service)
      await until(async () => {
        const counts = apps.map((app) => {
          const ip = Object.values(of(app)?.addresses ?? {})[0]?.[0] ?? ''
          return ports.engine.connections(of(nginx)!, [{ ip, port: 3000 }], signal)
        })
        return (await Promise.all(counts)).every((count) => count > 0)
      }, 'both apps work')
    },
    remove: () =>
      endAll(
        () => registry.stop(),
        () => stack.remove(),
      ),
  }
})

test('the engine is the one of the docker CLI’s context', async () => {
  const config = await mkdtemp('/tmp/ropeway-context-')
  const host = (await docker('context', 'inspect', '--format', '{{.Endpoints.docker.Host}}')).trim()
  try {
    vi.stubEnv('DOCKER_CONFIG', config)
    await docker('context', 'create', 'here', '--docker', `host=${host}`)
    await docker('context', 'create', 'away', '--docker', 'host=ssh://me@127.0.0.1')
    vi.stubEnv('DOCKER_HOST', undefined)
    vi.stubEnv('DOCKER_CONTEXT', 'here')
    const project = await dockerEngine().containers(stack.project, signal)
    expect(project.map(({ service }) => service)).toContain('nginx')
    const engine = dockerEngine()
    vi.stubEnv('DOCKER_CONTEXT', 'away')
    await expect(engine.ping(signal)).rejects.toThrow('context away (ssh://me@127.0.0.1)')
    vi.stubEnv('DOCKER_CONTEXT', 'here')
    await engine.ping(signal)
  } finally {
    vi.unstubAllEnvs()
    await rm(config, { recursive: true })
  }
})

test('a rename keeps the file’s mode', async () => {
  const path = join(stack.folder, 'docker-compose.yml')
  await chmod(path, 0o640)
  await ports.files.write(path, await ports.files.read(path), 'rename')
  expect((await stat(path)).mode & 0o777).toBe(0o640)
})

test('an image’s last name stays as long as a container keeps it, and the image goes with it', async () => {
  const name = `ropeway-last/${stack.project}:1`
  const { app1 } = await stack.containers()
  await docker('commit', app1!.id, name)
  const keeper = await docker('create', name)
  try {
    expect(await ports.engine.untag(name, signal)).toBe(false)
    expect(await ports.engine.image(name, signal)).toBeDefined()
  } finally {
    await ports.engine.remove(keeper, signal)
  }
  const { id } = (await ports.engine.image(name, signal))!
  expect(await ports.engine.untag(name, signal)).toBe(true)
  expect(await ports.engine.image(id, signal)).toBeUndefined()
})
