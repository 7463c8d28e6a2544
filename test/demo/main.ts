// npm run demo: the example stack on real containers, requests that never stop, and one signed webhook that rolls it from v1 to v2.
// Exits 1 if any request failed. `--keep` leaves everything running and says what to try next.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { cp, mkdtemp, readFile, rm, writeFile, open } from 'node:fs/promises'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { signToken } from '../../shared/tokens.ts'
import { events } from '../../agent/cli/api/api.ts'
import { loadKey } from '../../agent/identity/identity.ts'
import { buildWorker } from '../build.ts'
import { docker, removeKeptImages } from '../support/stack.ts'
import { countLine, createScreen, stepLine } from './draw.ts'
import { firstPicture, nextPicture } from './picture.ts'
import { startTraffic } from './traffic.ts'
import { freePort } from '../support/port.ts'

const ROOT = join(import.meta.dirname, '../..')
const READY_MS_MAX = 60_000
const ROLL_MS_MAX = 180_000
const DRAW_MS = 100
const HOST = 'vps-1'
const STACK = 'hello'

const keep = process.argv.includes('--keep')
const screen = createScreen(process.stdout)
const stopping = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort())

const folder = await mkdtemp('/tmp/ropeway-demo-')
const project = `ropeway-demo-${randomBytes(3).toString('hex')}`
const port = await freePort()
const relayPort = await freePort()
const relay = `http://127.0.0.1:${relayPort}`
const secret = `whsec_${randomBytes(32).toString('base64')}`
const env = { ROPEWAY_ENROLL_KEY: randomBytes(24).toString('base64url'), ROPEWAY_HELLO_SECRET: secret }
const configFile = join(folder, 'ropeway.yml')
const dataDir = join(folder, 'agent-data')
const processes: ChildProcess[] = []

let isClean = false
try {
  isClean = await demo()
} finally {
  screen.end()
  if (keep && isClean) await sayWhatNext()
  else await cleanUp()
}
process.exit(isClean ? 0 : 1)

async function demo(): Promise<boolean> {
  await prepareStack()
  await buildWorker()
  await start(
    'relay',
    ['relay', '--port', String(relayPort), '--data', join(folder, 'relay-data')],
    'relay listening on',
  )
  await run(process.execPath, [
    join(ROOT, 'agent/main.ts'),
    'enroll',
    '--config',
    configFile,
    '--data',
    dataDir,
  ])
  await start('agent', ['agent', '--config', configFile, '--data', dataDir], 'agent connected to')
  screen.say(`relay on ${relay}, agent connected as ${HOST}`)

  const traffic = startTraffic(port)
  await until(() => Object.keys(traffic.now().answers).length === 2, 'both servers answer')
  screen.say(`before: ${countLine(traffic.now())}`)
  const deploy = await sendHook({ env: { MESSAGE: '{service},v2' }, reason: 'the demo' })
  screen.say(`webhook accepted: deploy ${deploy}`)
  const outcome = await follow(deploy, traffic)
  const answersThen = traffic.now().answers
  const grown = (name: string) => (traffic.now().answers[name] ?? 0) > (answersThen[name] ?? 0)
  const isOnV2 =
    outcome === 'succeeded' &&
    (await until(() => grown('app1,v2') && grown('app2,v2'), 'both answer with v2'))
  const total = await traffic.stop()

  screen.say(isOnV2 ? 'both servers are on v2' : `the deploy ended ${outcome}`)
  screen.say(countLine(total) + (total.lastFailure ? ` (${total.lastFailure})` : ''))
  return isOnV2 && total.failed === 0
}

async function prepareStack(): Promise<void> {
  screen.say(
    `copying example/ to ${folder} and starting it on port ${port} (${process.env['ROPEWAY_ENGINE'] ?? 'Docker'})`,
  )
  await cp(join(ROOT, 'example'), folder, { recursive: true })
  await run('docker', ['build', '-q', '-t', 'hello-world-env', join(folder, 'hello-world-env')])
  // Another port and no fixed name, so that the demo disturbs nothing that runs here.
  const composeFile = join(folder, 'docker-compose.yml')
  const compose = await readFile(composeFile, 'utf8')
  await writeFile(
    composeFile,
    compose.replace('"80:80"', `"127.0.0.1:${port}:80"`).replace(/ +container_name: nginx\n/, ''),
  )
  const config = await readFile(configFile, 'utf8')
  const own = config
    .replace(/^relay: \S+/m, `relay: ${relay}`)
    .replace('compose: ./', `project: ${project}\n    compose: ./`)
  await writeFile(configFile, own)
  await run('docker', [...composeArgs(), 'up', '-d', '--pull', 'never'])
}

function composeArgs(): string[] {
  return ['compose', '--project-directory', folder, '-f', join(folder, 'docker-compose.yml'), '-p', project]
}

async function sendHook(request: object): Promise<string> {
  const body = new TextEncoder().encode(JSON.stringify(request))
  const timestampSeconds = Math.floor(Date.now() / 1000)
  const headers = await signStandardWebhook(secret, { id: `msg_${randomUUID()}`, timestampSeconds, body })
  const response = await fetch(`${relay}/hooks/${HOST}/${STACK}/deploy`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body,
  })
  const answer = (await response.json()) as { deploy?: { id: string } }
  if (response.status !== 202 || !answer.deploy)
    throw new Error(`the webhook was answered ${response.status}`)
  return answer.deploy.id
}

async function follow(deploy: string, traffic: ReturnType<typeof startTraffic>): Promise<string> {
  const { privateKey } = await loadKey(dataDir)
  const token = () =>
    signToken(privateKey, {
      host: HOST,
      audience: relay,
      actor: 'demo',
      scopes: ['read'],
      ttlSeconds: 300,
      now: new Date(),
    })
  let picture = firstPicture(['app1', 'app2'])
  const timer = setInterval(() => screen.draw(picture, traffic.now()), DRAW_MS)
  let last = 'nothing'
  try {
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(ROLL_MS_MAX)])
    for await (const logged of events({ relay, host: HOST }, deploy, token, signal)) {
      const before = picture.durations.length
      picture = nextPicture(picture, logged)
      for (const done of picture.durations.slice(before))
        screen.say(`${stepLine(done)}   ${countLine(traffic.now())}`)
      last = logged.event.type
      if (logged.event.type === 'failed' || logged.event.type === 'stuck')
        screen.say(`${last}: ${logged.event.problem.message}`)
    }
  } finally {
    clearInterval(timer)
  }
  return last
}

/** Starts one of our own commands and waits for the line that says it is ready. Its output goes to a file in the demo's folder. */
async function start(name: string, args: string[], ready: string): Promise<void> {
  const path = join(folder, `${name}.log`)
  const log = await open(path, 'w')
  const child = spawn(process.execPath, [join(ROOT, 'agent/main.ts'), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', log.fd, log.fd],
    detached: keep,
  })
  processes.push(child)
  await log.close()
  await until(async () => {
    const text = await readFile(path, 'utf8')
    if (child.exitCode !== null) throw new Error(`ropeway ${name} ended:\n${text}`)
    return text.includes(ready)
  }, `ropeway ${name} is ready (see ${path})`)
}

async function run(file: string, args: string[]): Promise<void> {
  await promisify(execFile)(file, args, { env: { ...process.env, ...env }, signal: stopping.signal })
}

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<true> {
  const deadline = Date.now() + READY_MS_MAX
  while (!(await isSo())) {
    stopping.signal.throwIfAborted()
    if (Date.now() > deadline) throw new Error(`not so within ${READY_MS_MAX / 1000} s: ${what}`)
    await new Promise((done) => setTimeout(done, 20))
  }
  return true
}

async function cleanUp(): Promise<void> {
  for (const child of processes.toReversed()) {
    if (child.exitCode !== null) continue
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  await docker(...composeArgs(), 'down', '--timeout', '0')
  await removeKeptImages(project)
  await rm(folder, { recursive: true, force: true })
}

async function sayWhatNext(): Promise<void> {
  for (const child of processes) child.unref()
  const lines = Object.entries(env).map(([key, value]) => `export ${key}='${value}'`)
  for (const key of ['DOCKER_HOST', 'DOCKER_CONFIG'])
    if (process.env[key]) lines.push(`export ${key}='${process.env[key]}'`)
  await writeFile(join(folder, 'env'), `${lines.join('\n')}\n`, { mode: 0o600 })
  const ropeway = 'npm run -s ropeway --'
  const files = `--config ${configFile} --data ${dataDir}`
  process.stdout.write(`
Everything still runs. Try, in this checkout:

  . ${folder}/env
  curl http://127.0.0.1:${port}/
  ${ropeway} plan ${STACK} --env 'MESSAGE={service},v3' ${files}
  ${ropeway} deploy ${STACK} --env 'MESSAGE={service},v3' ${files}
  ${ropeway} status ${files}

and when you have seen enough:

  kill ${processes.map(({ pid }) => pid).join(' ')}
  docker ${composeArgs().join(' ')} down
  rm -r ${folder}
  bash test/machine/teardown.sh
`)
}
