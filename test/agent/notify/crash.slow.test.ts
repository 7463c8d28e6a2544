// A real agent, killed while its notices are on their way, and what `ropeway notifications` shows meanwhile.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadOrCreateKey } from '../../../agent/identity/identity.ts'
import { verifyStandardWebhook } from '../../../shared/triggers/standard-webhooks.ts'
import { ropeway, type Ran } from '../../support/cli.ts'
import { hookFrame, HOST, SECRET, tempDir } from '../../support/host.ts'
import { startHub } from '../../support/hub.ts'
import { SIGNING, TOKEN } from '../../support/notices.ts'
import { hang, platforms, refuse } from '../../support/platforms.ts'
import { until } from '../../support/until.ts'

const MAIN = join(import.meta.dirname, '../../../agent/main.ts')
const AGENT = join(import.meta.dirname, '../../faults/agent.ts')

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** What the command says, once it says this: the agent writes it a moment after the answer. */
async function shows(notifications: () => Promise<Ran>, expected: RegExp): Promise<Ran> {
  for (let tries = 1; ; tries += 1) {
    const shown = await notifications()
    if (expected.test(shown.stdout)) return shown
    if (tries === 5) throw new Error(`not shown: ${shown.stdout}${shown.stderr}`)
  }
}

async function world() {
  const [hub, to] = [await startHub(), await platforms()]
  onTestFinished(() => hub.stop())
  const dir = tempDir()
  const data = join(dir, 'data')
  await loadOrCreateKey(data)
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  const config = join(dir, 'ropeway.yml')
  writeFileSync(
    config,
    `relay: ${hub.url}
host: ${HOST}
stacks:
  hello:
    compose: ./docker-compose.yml
    triggers: { deploy: { type: standard-webhooks, secret: { env: SECRET } } }
    notify: [{ type: standard-webhooks, name: own, url: { env: OWN }, secret: { env: SIGNING } }]
`,
  )
  const env = { SECRET, SIGNING, OWN: `${to.url}/own.example/${TOKEN}`, PATH: process.env['PATH'] }
  let said = ''
  const start = (args = [AGENT, config, data, join(dir, 'rolls')]): ChildProcess => {
    const child = spawn(process.execPath, args, { env })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += String(text)))
    onTestFinished(() => void child.kill('SIGKILL'))
    return child
  }
  const notifications = (...more: string[]) =>
    ropeway(['notifications', 'hello', '--config', config, '--data', data, ...more])
  const ids = () => to.got.map(({ headers }) => String(headers['webhook-id']))
  const startReal = () => start([MAIN, 'agent', '--config', config, '--data', data])
  return { hub, to, start, startReal, notifications, ids, said: () => said }
}

test('a killed agent loses no notice, and each that is sent again has the same id and a signature that is right now', async () => {
  const { hub, to, start, notifications, ids, said } = await world()
  const frame = await hookFrame()
  to.next.push(hang, hang)
  const first = start()
  await until('connected', () => hub.hellos.length === 1, 20_000)
  hub.deliver(frame)
  // The roll does not wait for who is notified.
  await until('the deploy is over', () => hub.types(frame.id).includes('succeeded'), 20_000)
  await until('the first is on its way', () => to.got.length === 1)
  await kill(first)

  const second = start()
  await until('it is on its way again', () => to.got.length === 2, 20_000)
  await kill(second)

  to.next.push(refuse(500))
  start()
  const expected = [...Array<string>(4).fill(`${frame.id}-start`), `${frame.id}-success`]
  await until('all are told', () => ids().length === expected.length, 30_000)
  expect(ids()).toEqual(expected)
  for (const { headers, raw } of to.got)
    await verifyStandardWebhook(
      { headers: headers as Record<string, string>, body: new TextEncoder().encode(raw) },
      { type: 'standard-webhooks', keys: [SIGNING] },
      Date.now(),
    )
  expect(hub.types(frame.id).filter((type) => type === 'started')).toHaveLength(1)

  // The agent runs, and has its journal to itself.
  const shown = await shows(notifications, /last sent: success of deploy/)
  expect(shown.stdout).toContain('own (standard-webhooks): start, success, failure, stuck')
  const { notices } = JSON.parse((await notifications('--json')).stdout) as { notices: unknown[] }
  expect(notices).toMatchObject([
    { destination: 'own', deploy: frame.id, moment: 'success', outcome: 'sent' },
  ])
  for (const text of [said(), shown.stdout, JSON.stringify(hub.batches)]) {
    expect(text).not.toContain(TOKEN)
    expect(text).not.toContain(SIGNING)
  }
})

test('what is given up is shown by the command, with its reason', async () => {
  const { hub, to, start, notifications, said } = await world()
  const before = await notifications()
  expect(before.code).toBe(1)
  expect(before.stderr).toContain('(not-found)')
  to.next.push(refuse(410), refuse(410))
  const frame = await hookFrame()
  start()
  await until('connected', () => hub.hellos.length === 1, 20_000)
  hub.deliver(frame)
  await until('both are given up', () => said().match(/given up/g)?.length === 2, 20_000)
  const shown = await shows(notifications, /HTTP 410\n  given up/)
  expect(shown.code).toBe(0)
  expect(shown.stdout).toMatch(
    new RegExp(
      `nothing sent yet\n  given up .*: success of deploy ${frame.id}, after 1 try: HTTP 410\n  given up .*: start`,
    ),
  )
})

test('`ropeway agent` itself tells of a deploy that it refuses', async () => {
  const { hub, to, startReal, notifications, said } = await world()
  startReal()
  await until('connected', () => hub.hellos.length === 1, 20_000)
  const frame = await hookFrame({ body: '{"reason":"nightly"}' })
  hub.deliver(frame)
  // Without services, whether or not there is an engine.
  await until('it is over', () => hub.types(frame.id).includes('failed'), 20_000)
  await until('it is told', () => to.got.length === 1)
  expect(to.got[0]?.body).toMatchObject({
    type: 'deploy.failed',
    data: { deploy: frame.id, actor: 'deploy', reason: 'nightly', standing: 'untouched', changes: [] },
  })
  await shows(notifications, /last sent: failure of deploy/)
  expect(said()).not.toContain(TOKEN)
})
