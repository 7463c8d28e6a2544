// What a relay knows after it was stopped and started, what it leaves on the disk, and how it says that it cannot start.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { decodeJwt } from 'jose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Relay, RelayOptions } from '../../agent/relay/relay.ts'
import type { LoggedEvent } from '../../shared/events.ts'
import { DEPLOYS_KEPT_MAX, TRIM_EVERY_DEPLOYS } from '../../shared/limits.ts'
import { chatScene, withChats } from '../support/chat/scene.ts'
import * as slack from '../support/chat/slack.ts'
import { ROLL, TestHost, testRelay } from '../support/relay.ts'
import { until } from '../support/until.ts'

let dataDir: string
let relay: Relay | undefined
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'ropeway-relay-'))
})
afterEach(async () => {
  await stop()
  rmSync(dataDir, { recursive: true })
})

async function stop(): Promise<void> {
  await relay?.stop()
  relay = undefined
}

async function start(options: Partial<RelayOptions> = {}): Promise<Relay> {
  await stop()
  relay = await testRelay({ dataDir, ...options })
  return relay
}

/** The databases of every Durable Object on the disk. */
function databases(): string[] {
  const folder = join(dataDir, 'do/ropeway-Hub')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sqlite') && name !== 'metadata.sqlite')
    .map((name) => join(folder, name))
}

/** What the database of the one hub that has deploys holds, while no relay runs. */
function inHubRows(query: string): Record<string, unknown>[] {
  return databases().flatMap((path) => {
    using db = new DatabaseSync(path, { readOnly: true })
    const hasDeploys = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'deploys'`).get() !== undefined
    return hasDeploys ? db.prepare(query).all() : []
  })
}

/** Changes the database of the one hub that has deploys, while no relay runs. */
function inHub(statement: string): void {
  for (const path of databases()) {
    using db = new DatabaseSync(path)
    if (db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'deploys'`).get()) db.exec(statement)
  }
}

/** Tables and rows of every Durable Object on the disk. */
function stored(): { tables: string[]; deploys: number; events: number; proofs: number }[] {
  return databases().map((path) => {
    using db = new DatabaseSync(path, { readOnly: true })
    const tables = db
      .prepare(`SELECT name FROM sqlite_master WHERE type = 'table'`)
      .all()
      .map((row) => String(row['name']))
    const count = (what: string) =>
      tables.includes('deploys') ? Number(db.prepare(`SELECT count(*) AS n FROM ${what}`).get()?.['n']) : 0
    return {
      tables,
      deploys: count('deploys'),
      events: count('events'),
      proofs: count('deploys WHERE proof IS NOT NULL'),
    }
  })
}

test('enrolment, triggers, deploys and events are kept over a restart', async () => {
  const host = await TestHost.enrolled(await start())
  const agent = await host.agent(['hello', 'other'])
  const done = (await host.hook('{}', { id: 'msg_done' })).body.deploy.id
  await agent.nextDeploy()
  agent.report(done, 1, ...ROLL)
  await agent.next()
  await agent.close()
  const waiting = (await host.hook('{"reason":"waits"}', { id: 'msg_waits' })).body.deploy.id

  host.url = (await start()).url
  expect((await host.enroll()).body.status).toBe('known')
  expect((await host.hook('{}', { id: 'msg_done' })).body).toMatchObject({
    status: 'duplicate',
    deploy: { id: done },
  })
  const other = { path: host.hookPath('other') }
  expect((await host.hook('{}', other)).body).toMatchObject({ status: 'accepted', agent: 'offline' })
  expect((await host.get(`/deploys/${done}`)).body.status).toBe('succeeded')
  expect((await host.get(`/deploys/${done}/events`)).body.events.length).toBe(ROLL.length + 1)
  const again = await host.agent(['hello', 'other'])
  expect((await again.nextDeploy()).id).toBe(waiting)
  await again.nextDeploy()
  again.report(waiting, 1, ...ROLL)
  expect(await again.next()).toEqual({ type: 'stored', deploy: waiting, seq: ROLL.length })
  await again.close()
})

test('an agent hears that its events are stored only once they are, and viewers see them only then', async () => {
  const host = await TestHost.enrolled(await start())
  const before = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await before.nextDeploy()
  await before.close()

  await stop()
  // As a disk that fills up while they are stored: the first would still fit.
  inHub(
    `CREATE TRIGGER refused BEFORE INSERT ON events WHEN NEW.seq > 2 BEGIN SELECT RAISE(ABORT, 'full'); END`,
  )
  host.url = (await start()).url
  const token = await host.token(['read'])
  const viewer = await host.watch(id, { authorization: `Bearer ${token}` })
  for (const _ of ['the first time', 'when it comes back']) {
    const agent = await host.agent()
    await agent.nextDeploy()
    agent.report(id, 1, ...ROLL)
    expect(await agent.closed()).toEqual({ code: 1011, reason: 'not stored' })
    expect(agent.unread()).toEqual([])
  }
  await host.put('/revoked', { ids: [decodeJwt(token).jti] })
  expect((await viewer.rest()).map(({ event }) => event.type)).toEqual(['accepted'])

  await stop()
  expect(stored().find(({ deploys }) => deploys > 0)).toMatchObject({ events: 1 })
  inHub('DROP TRIGGER refused')
  host.url = (await start()).url
  const agent = await host.agent()
  await agent.nextDeploy()
  agent.report(id, 1, ...ROLL)
  expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq: ROLL.length })
  const { events } = (await host.get(`/deploys/${id}/events`)).body as { events: LoggedEvent[] }
  expect(events.map(({ seq, event }) => [seq, event.type])).toEqual(
    ['accepted', ...ROLL.map(({ type }) => type)].map((type, i) => [i + 1, type]),
  )
  await agent.close()
})

test('a message of a chat that is damaged keeps no other from being shown, and is given up', async () => {
  const standIn = new slack.SlackStandIn()
  const { outbound } = standIn
  const image = 'ghcr.io/acme/hello'
  const at = await chatScene(await start({ outbound }), {
    type: 'slack',
    keys: [slack.SECRET],
    token: slack.TOKEN,
    teams: [slack.TEAM],
    channels: [slack.CHANNEL],
    stacks: ['hello', 'other'].map((name) => ({ name, image, deploy: [slack.ANNA] })),
  })
  const ids: string[] = []
  for (const stack of ['hello', 'other']) {
    await slack.send(at.url, slack.signed(slack.command(`deploy ${stack} v2`)))
    ids.push((await at.agent.nextDeploy()).id)
    await until('its message', () => standIn.messages.length === ids.length)
  }
  for (const id of ids) at.agent.report(id, 1, ...ROLL.slice(0, 2))
  // They can be edited only once the hub has stored where they are.
  await until('both are edited', () => standIn.messages.every(({ texts }) => texts.length > 1))
  await at.agent.close()
  await stop()
  inHub(`UPDATE chat_messages SET place = '{' WHERE deploy = '${ids[0]}'`)
  at.host.url = (await start({ outbound })).url
  const agent = await withChats(at.host, [at.chat])
  for (const id of ids) agent.report(id, 1, ...ROLL)
  const [first, second] = standIn.messages
  await until('the other is shown to its end', () => second?.texts.at(-1)?.includes('succeeded'))
  expect(first?.texts.some((text) => text.includes('succeeded'))).toBe(false)
  await agent.close()
  await stop()
  expect(inHubRows('SELECT deploy, due_at FROM chat_messages')).toContainEqual({
    deploy: ids[0],
    due_at: null,
  })
  expect(standIn.faults).toEqual([])
})

// Miniflare ends workerd by SIGKILL, so every stop here is a crash to it.
test('a relay that is killed has lost nothing that it accepted', async () => {
  const host = await TestHost.enrolled(await start())
  const stacks = Array.from({ length: 20 }, (_, i) => `stack-${i}`)
  await (await host.agent(stacks)).close()
  const ids = await Promise.all(
    stacks.map(
      async (stack) => (await host.hook('{}', { path: host.hookPath(stack) })).body.deploy.id as string,
    ),
  )
  host.url = (await start()).url
  const agent = await host.agent()
  const frames = await agent.drained()
  expect(frames.map((frame) => frame.type === 'deploy' && frame.id).toSorted()).toEqual(ids.toSorted())
  await agent.close()
})

test('a name that is not enrolled leaves nothing on the disk', async () => {
  const nobody = await TestHost.unknown(await start())
  expect((await nobody.hook()).status).toBe(401)
  expect((await nobody.get('')).status).toBe(401)
  expect((await nobody.deploy('{}')).status).toBe(401)
  await expect(nobody.silentAgent()).rejects.toThrow('HTTP 401')
  await stop()
  for (const { tables } of stored()) expect(tables.filter((name) => !name.startsWith('sqlite_'))).toEqual([])
})

test('only the newest finished deploys are kept, and no proof of a finished one', async () => {
  const host = await TestHost.enrolled(await start())
  const agent = await host.agent()
  const waiting = (await host.hook()).body.deploy.id
  await agent.nextDeploy()
  let first: string | undefined
  const count = DEPLOYS_KEPT_MAX + 2 * TRIM_EVERY_DEPLOYS + 3
  for (let i = 0; i < count; i++) {
    const { id } = (await host.hook()).body.deploy
    first ??= id
    await agent.nextDeploy()
    agent.report(id, 1, { type: 'superseded', by: waiting })
    await agent.next()
  }
  expect((await host.get(`/deploys/${first}`)).status).toBe(404)
  expect((await host.get(`/deploys/${waiting}`)).status).toBe(200)
  await agent.close()
  await stop()
  // With the one that waits, and those that came since the last time that old ones were looked for.
  const kept = DEPLOYS_KEPT_MAX + 1 + ((count + 1) % TRIM_EVERY_DEPLOYS)
  expect(stored().find(({ deploys }) => deploys > 0)).toMatchObject({
    deploys: kept,
    events: 2 * kept - 1,
    proofs: 1,
  })
}, 60_000)

test('a taken port is said to be taken', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await expect(testRelay({ port })).rejects.toMatchObject({
    code: 'usage-invalid',
    message: `port ${port} is taken`,
  })
  server.close()
})

test('no enrolment key, no relay', async () => {
  await expect(testRelay({ enrollKey: '' })).rejects.toMatchObject({ code: 'usage-invalid' })
})

test.each(['relay.example', 'ftp://relay.example', ''])(
  'an address %j that is none, no relay',
  async (relayUrl) => {
    await expect(testRelay({ relayUrl })).rejects.toMatchObject({ code: 'usage-invalid' })
  },
)

test('signals are left to whoever started the relay', async () => {
  const before = [process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]
  await start()
  expect([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]).toEqual(before)
})

test('tokens are made for the public origin where there is one, and links lead there', async () => {
  relay = await testRelay({ relayUrl: 'https://relay.example' })
  const host = await TestHost.enrolled(relay)
  expect((await host.get('')).status).toBe(401)
  const audience = 'https://relay.example'
  expect((await host.get('', { token: await host.token(['read'], { audience }) })).status).toBe(200)
  const agent = await host.silentAgent(await host.token(['agent'], { audience }))
  agent.send({
    type: 'hello',
    v: 1,
    agent: 'x',
    stacks: ['hello'],
    triggers: [host.trigger()],
    revoked: [],
  })
  await agent.next()
  expect((await host.hook()).body.deploy.url).toMatch(/^https:\/\/relay\.example\/v1\/hosts\//)
  await agent.close()
})
