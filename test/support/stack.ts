// A stack of a test's own on the real engine: the seed's shape in a temporary folder, under a project name of its own.

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
/** Every folder of a test starts like this: the second engine of the tests sees this part of the host. */
const FOLDER = '/tmp/ropeway-'

export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await execute('docker', args, { maxBuffer: 64 * 1024 * 1024 })
  return stdout.trim()
}

export const APP_MODES = ['ok', 'exits', 'sick', 'crashes', 'crashes-later'] as const

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

export interface Stack {
  readonly folder: string
  readonly project: string
  /** nginx's address in the stack's network, to ask without a published port between. */
  readonly ip: string
  read(path: string): Promise<string>
  write(path: string, text: string): Promise<void>
  compose(...args: string[]): Promise<string>
  remove(): Promise<void>
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

/** Writes the files, starts the stack and waits until nginx answers. `files` replaces or adds to the seed's two. */
export async function startStack(files: Record<string, string> = {}): Promise<Stack> {
  const folder = await mkdtemp(FOLDER)
  const project = `ropeway-${randomBytes(4).toString('hex')}`
  const all = { 'docker-compose.yml': SEED_COMPOSE, 'proxy/nginx.conf': await seedNginxConf(), ...files }
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const compose = async (...args: string[]) =>
    await docker(
      'compose',
      '--project-directory',
      folder,
      '-f',
      join(folder, 'docker-compose.yml'),
      '-p',
      project,
      ...args,
    )
  await compose('up', '-d', '--pull', 'never')
  const nginx = await compose('ps', '-q', 'nginx')
  const ip = await docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', nginx)
  await until(async () => (await fetch(`http://${ip}/`)).ok, 'nginx answers')
  return {
    folder,
    project,
    ip,
    compose,
    read: (path) => readFile(join(folder, path), 'utf8'),
    write: (path, text) => writeFile(join(folder, path), text),
    async remove() {
      await compose('down', '--volumes', '--timeout', '0')
      await rm(folder, { recursive: true, force: true })
    },
  }
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
