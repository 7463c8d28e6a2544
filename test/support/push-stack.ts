// A stack whose images come from a private registry that tells its relay of every push: all that a `docker push` sets in motion, and a look at
// each notification on its way.

import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { LOGIN, startRegistry, type Registry } from './registry.ts'
import { freePort } from './port.ts'
import { HOST, startRopeway, type Ropeway } from './ropeway.ts'
import { docker, endAll, SEED_COMPOSE, startStack, type Stack } from './stack.ts'

const SECRET = 'the-registry-of-these-tests'
const AUTHORIZATION = `Bearer ${SECRET}`

/** What the registry told, and what it was answered. */
export interface Notification {
  readonly at: number
  readonly body: string
  readonly type: string
  readonly status: number
  readonly answer: { status: string; reason?: string; deploy?: { id: string } }
}

export interface PushStack {
  readonly stack: Stack
  readonly ropeway: Ropeway
  readonly repository: string
  readonly notifications: readonly Notification[]
  /** `docker push` of one of the tests' app's versions, as somebody would who is logged in. When it returned. */
  push(version: string, tag: string): Promise<number>
  /** A notification as if the registry had sent it. */
  notify(body: string, type: string): Promise<Notification>
  stop(): Promise<void>
}

export async function startPushStack(trigger: object): Promise<PushStack> {
  const login = await startLogin()
  const notifications: Notification[] = []
  const listener = createServer(async (request, response) => {
    const body = Buffer.concat(await Array.fromAsync<Buffer>(request)).toString('utf8')
    // Of the first version it tells before there is a relay.
    if (!ropeway) return void response.end()
    const told = await notify(body, request.headers['content-type'] ?? '', request.headers.authorization)
    notifications.push(told)
    response.writeHead(told.status).end(JSON.stringify(told.answer))
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  const port = typeof address === 'object' && address ? address.port : 0

  let registry: Registry | undefined
  let stack: Stack | undefined
  let ropeway: Ropeway | undefined
  const notify = async (body: string, type: string, authorization = AUTHORIZATION): Promise<Notification> => {
    const at = Date.now()
    const answer = await fetch(`${ropeway?.url}/hooks/${HOST}/hello/push`, {
      method: 'POST',
      headers: { 'content-type': type, authorization },
      body,
    })
    return { at, body, type, status: answer.status, answer: (await answer.json()) as Notification['answer'] }
  }
  const stop = () =>
    endAll(
      () => ropeway?.stop(),
      () => stack?.remove(),
      () => registry?.stop(),
      async () => void listener.close().closeAllConnections(),
      () => login.end(),
    )
  try {
    const notifies = { url: `http://127.0.0.1:${port}/`, authorization: AUTHORIZATION }
    const registryPort = await freePort()
    const { address: registryAddress } = (registry = await startRegistry(registryPort, {
      isPrivate: true,
      notifies,
    }))
    await login.to(registryAddress)
    const repository = `${registryAddress}/app`
    const push = async (version: string, tag: string) => {
      await docker('tag', `ropeway-test-app:${version}`, `${repository}:${tag}`)
      await docker('push', `${repository}:${tag}`)
      const at = Date.now()
      await docker('rmi', `${repository}:${tag}`)
      return at
    }
    await push('v1', 'v1')
    await docker('pull', `${repository}:v1`)
    stack = await startStack({
      'docker-compose.yml': SEED_COMPOSE.replaceAll('ropeway-test-app:v1', `${repository}:v1`),
    })
    ropeway = await startRopeway({
      stacks: {
        hello: {
          compose: stack.composeFiles[0],
          triggers: {
            push: { type: 'distribution', secret: { env: 'PUSH_SECRET' }, image: repository, ...trigger },
          },
        },
      },
      env: { PUSH_SECRET: SECRET },
    })
    return { stack, ropeway, repository, notifications, push, notify, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

// The registry's password by a credential helper, as people have it: a program of its own on the PATH, and no password in any file.
async function startLogin(): Promise<{ to(address: string): Promise<void>; end(): Promise<void> }> {
  const before = { config: process.env['DOCKER_CONFIG'], path: process.env['PATH'] }
  const usual = before.config ?? join(homedir(), '.docker')
  const folder = await mkdtemp('/tmp/ropeway-login-')
  const helper = join(folder, 'docker-credential-ropeway-test')
  const said = JSON.stringify({ Username: LOGIN.user, Secret: LOGIN.password })
  await writeFile(helper, `#!/bin/sh\ncat >/dev/null\n[ "$1" = get ] && echo '${said}'\n`)
  await chmod(helper, 0o755)
  await symlink(join(usual, 'cli-plugins'), join(folder, 'cli-plugins'))
  const config = JSON.parse(await readFile(join(usual, 'config.json'), 'utf8').catch(() => '{}')) as object
  return {
    async to(address) {
      const mine = { ...config, credHelpers: { [address]: 'ropeway-test' } }
      await writeFile(join(folder, 'config.json'), JSON.stringify(mine))
      process.env['DOCKER_CONFIG'] = folder
      process.env['PATH'] = `${folder}:${before.path}`
    },
    async end() {
      if (before.config === undefined) delete process.env['DOCKER_CONFIG']
      else process.env['DOCKER_CONFIG'] = before.config
      process.env['PATH'] = before.path
      await rm(folder, { recursive: true, force: true })
    },
  }
}
