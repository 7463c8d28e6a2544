// A stack of a test's own on the real engine: the seed's shape in a temporary folder, under a project name of its own.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { connect } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type Docker from 'dockerode'

const execute = promisify(execFile)
/** Every folder of a test starts like this: the second engine of the tests sees this part of the host. */
const FOLDER = '/tmp/ropeway-'

export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await execute('docker', args, { maxBuffer: 64 * 1024 * 1024 })
  return stdout.trim()
}

export const APP_MODES = [
  'ok',
  'exits',
  'sick',
  'crashes',
  'crashes-later',
  'crashes-soon',
  'deaf',
  'flaps',
  'wedged',
  'flaky',
] as const

/** Builds the tests' app once an engine: `ropeway-test-app:v1`, `:v2`, and one tag for each way to misbehave. */
export async function buildApp(): Promise<void> {
  const root = join(import.meta.dirname, '../..')
  const build = async (tag: string, version: string, mode: string) => {
    const args = ['--build-arg', `VERSION=${version}`, '--build-arg', `MODE=${mode}`]
    await docker(
      'build',
      '-q',
      '-f',
      join(root, 'test/e2e/app/Dockerfile'),
      '-t',
      `ropeway-test-app:${tag}`,
      ...args,
      root,
    )
  }
  for (const version of ['v1', 'v2', 'v3']) await build(version, version, 'ok')
  for (const mode of APP_MODES.slice(1)) await build(mode, 'v2', mode)
}

/** The example's app, as its own Dockerfile makes it. */
export async function buildHello(): Promise<void> {
  const folder = join(import.meta.dirname, '../../example/hello-world-env')
  await docker('build', '-q', '-t', 'hello-world-env', folder)
}

/** The stacks that run now, so that a failed test can show what their nginx said. */
const running = new Set<Stack>()

/** What went wrong for each running stack's nginx: why it answered 502, for one. */
export async function nginxLogs(): Promise<string> {
  return (await Promise.all([...running].map(faultsOfNginx))).join('\n')
}

async function faultsOfNginx({ project, compose }: Stack): Promise<string> {
  const log = await compose('logs', '--no-log-prefix', 'nginx').catch(String)
  const faults = log.split('\n').filter((line) => /\[(?:warn|error|crit|alert|emerg)\]/.test(line))
  return `nginx of ${project}:\n${faults.slice(-40).join('\n')}`
}

export interface Stack {
  readonly folder: string
  /** The compose files, as absolute paths. */
  readonly composeFiles: readonly string[]
  readonly project: string
  /** nginx's address in the stack's network, to ask without a published port between. */
  readonly ip: string
  read(path: string): Promise<string>
  /** In place: the file keeps its inode. */
  write(path: string, text: string): Promise<void>
  compose(...args: string[]): Promise<string>
  /** Every container of the project as it is now, by service. */
  containers(): Promise<Record<string, StackContainer>>
  /** What nginx answers to so many requests, each on a connection of its own. */
  answers(count?: number): Promise<string[]>
  remove(): Promise<void>
}

export interface StackContainer {
  readonly id: string
  readonly state: string
  readonly startedAt: string
  readonly imageId: string
  readonly image: string
  readonly env: readonly string[]
  readonly ip: string
  readonly pid: number
}

export const SEED_COMPOSE = `services:
  # nginx
  nginx:
    image: nginx:1.30
    volumes:
      - ./proxy/nginx.conf:/etc/nginx/nginx.conf
  # load balanced by nginx
  app1:
    image: ropeway-test-app:v1
    environment:
      - 'MESSAGE=app1,v1'
    expose:
      - "3000"
  app2:
    image: ropeway-test-app:v1
    environment:
      - 'MESSAGE=app2,v1'
    expose:
      - "3000"
`

/** The example's own nginx.conf: what people copy is what is tested. */
export async function seedNginxConf(): Promise<string> {
  return await readFile(join(import.meta.dirname, '../../example/proxy/nginx.conf'), 'utf8')
}

/**
 * Writes the files, starts the stack and waits until every app listens and nginx answers. `files` replaces or adds to the seed's two. The project's name is
 * what compose makes of the folder's: a new one, unless it is given. `door` is where the stack answers 200.
 */
export async function startStack(
  files: Record<string, string | Uint8Array> = {},
  composeFiles: readonly string[] = ['docker-compose.yml'],
  givenFolder?: string,
  door: Door = {},
): Promise<Stack> {
  const folder = givenFolder ?? (await mkdtemp(FOLDER))
  const project = basename(folder).toLowerCase()
  const all = { 'docker-compose.yml': SEED_COMPOSE, 'proxy/nginx.conf': await seedNginxConf(), ...files }
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const paths = composeFiles.map((path) => join(folder, path))
  const compose = async (...args: string[]) =>
    await docker(
      'compose',
      '--project-directory',
      folder,
      ...paths.flatMap((path) => ['-f', path]),
      '-p',
      project,
      ...args,
    )
  const remove = async () => {
    await compose('down', '--volumes', '--timeout', '0')
    await removeKeptImages(project)
    if (givenFolder === undefined) await rm(folder, { recursive: true, force: true })
  }
  try {
    // nginx refuses to start while a name in its configuration has no container, and the files say nothing of an order.
    const services = (await compose('config', '--services')).split('\n').filter((name) => name !== 'nginx')
    await compose('up', '-d', '--pull', 'never', ...services)
    await listening(project)
    await compose('up', '-d', '--pull', 'never')
    const nginx = await compose('ps', '-q', 'nginx')
    const ip = await docker('inspect', '-f', ADDRESS, nginx)
    await until(async () => (await askOnce(ip, door)) !== '', 'nginx answers')
    const stack: Stack = {
      folder,
      composeFiles: paths,
      project,
      ip,
      compose,
      read: (path) => readFile(join(folder, path), 'utf8'),
      write: (path, text) => writeFile(join(folder, path), text),
      containers: () => containersOf(project),
      answers: async (count = 8) => {
        const texts: string[] = []
        for (let n = 0; n < count; n += 1) texts.push(await askOnce(ip, door))
        return texts
      },
      async remove() {
        running.delete(stack)
        await remove()
      },
    }
    running.add(stack)
    return stack
  } catch (error) {
    await remove()
    throw error
  }
}

/** Removes the names that the releases of a project have given to images. */
export async function removeKeptImages(project: string): Promise<void> {
  const kept = await docker('images', '--format', '{{.Repository}}:{{.Tag}}', `ropeway.invalid/${project}`)
  if (kept !== '') await docker('rmi', ...kept.split('\n'))
}

// An app that nginx asks before it listens is out for nginx's `fail_timeout`, 10 s: the first answers of a test would miss it.
async function listening(project: string): Promise<void> {
  const ids = await docker('ps', '-q', '--filter', `label=com.docker.compose.project=${project}`)
  const containers = (await inspectAll(ids.split('\n'))) ?? []
  for (const { Name, Config, NetworkSettings } of containers) {
    const host = Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? ''
    if (Config.Image.startsWith('ropeway-test-app:') && host !== '')
      await until(() => accepts(host, APP_PORT), `${Name} listens`)
  }
}

/** Where the tests' app listens. */
const APP_PORT = 3000

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

const ADDRESS = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'

async function containersOf(project: string): Promise<Record<string, StackContainer>> {
  const ids = await docker(
    'ps',
    '-aq',
    '--no-trunc',
    '--filter',
    `label=com.docker.compose.project=${project}`,
  )
  if (ids === '') return {}
  const inspected = await inspectAll(ids.split('\n'))
  if (!inspected) return await containersOf(project)
  return Object.fromEntries(
    inspected.map(({ Id, State, Image, Config, NetworkSettings }) => [
      Config.Labels['com.docker.compose.service'] ?? '',
      {
        id: Id,
        state: State.Status,
        startedAt: State.StartedAt,
        imageId: Image,
        image: Config.Image,
        env: Config.Env.toSorted(),
        ip: Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? '',
        pid: State.Pid,
      },
    ]),
  )
}

// Undefined: one of them has gone since it was listed, as a roll replaces it.
async function inspectAll(ids: readonly string[]): Promise<Docker.ContainerInspectInfo[] | undefined> {
  try {
    return JSON.parse(await docker('inspect', ...ids)) as Docker.ContainerInspectInfo[]
  } catch (error) {
    if (String(error).includes('No such object')) return undefined
    throw error
  }
}

/** What nginx is asked for, and as whom: `/` by its address where nothing is said. */
interface Door {
  readonly path?: string
  readonly host?: string
}

async function askOnce(ip: string, { path = '/', host = ip }: Door): Promise<string> {
  const [response] = (await once(
    http.get({ host: ip, path, headers: { host, connection: 'close' }, agent: false }),
    'response',
  )) as [http.IncomingMessage]
  const body = Buffer.concat(await Array.fromAsync<Buffer>(response))
    .toString('utf8')
    .trim()
  if (response.statusCode !== 200) throw new Error(`nginx answers ${response.statusCode}: ${body}`)
  return body
}

/** Ends what a test file started, one after the other, each also when one before it fails. */
export async function endAll(...ends: (() => Promise<void> | undefined)[]): Promise<void> {
  const faults: unknown[] = []
  for (const end of ends) {
    try {
      await end()
    } catch (error) {
      faults.push(error)
    }
  }
  if (faults.length > 0) throw new AggregateError(faults, faults.map(String).join('\n'))
}

/** Waits until something is so, at most 60 s. */
export async function until(
  isSo: () => Promise<boolean> | boolean,
  what: string,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  let last: unknown
  while (Date.now() < deadline) {
    try {
      if (await isSo()) return
    } catch (error) {
      last = error
    }
    await new Promise((done) => setTimeout(done, 25))
  }
  throw new Error(`not so within ${timeoutMs / 1000} s: ${what}`, { cause: last })
}
