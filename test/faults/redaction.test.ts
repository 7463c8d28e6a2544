// Secrets stay where they belong. Everything that can be done with them is done, well and badly; then every place that somebody else may
// read is searched for each of them, in every form that it could have got there in.

import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { PUSH_BODY_BYTES_MAX } from '../../shared/limits.ts'
import { HOST, startWorld, type World } from './world.ts'

/** Each secret, whole and recognizable, by what it is. */
type Secrets = Record<string, string>

/** What somebody can read, by where it is. */
type Sinks = Record<string, Buffer>

const json = { 'content-type': 'application/json' }

test('no secret is in any place that somebody else may read', async (context) => {
  const urlSecret = `door_${randomBytes(18).toString('hex')}`
  const world = await startWorld(context, {
    triggers: () => ({ door: { type: 'url', secret: { env: 'DOOR_SECRET' } } }),
    env: { DOOR_SECRET: urlSecret },
  })
  const webhookSecret = (world.secrets.get('hello') ?? '').replace('whsec_', '')
  const commandLines: Sinks = {}
  const watch = () => {
    for (const child of world.processes)
      for (const [pid, words] of groupOf(child.pid))
        commandLines[`command line of ${child.name} (${pid})`] = words
  }

  // As it should be used.
  const readToken = await world.token()
  const deployToken = (await world.cli(['token', '--scope', 'read,deploy', '--ttl', '1h'])).stdout.trim()
  const away = { ROPEWAY_TOKEN: deployToken, ROPEWAY_RELAY: world.url, ROPEWAY_HOST: HOST }
  await world.outcome(await world.send('hello', 'signed'))
  expect((await world.request(`/hooks/${HOST}/hello/door/${urlSecret}`, { method: 'POST' })).status).toBe(202)
  expect(
    (await world.cli(['deploy', 'hello', '--reason', 'by-token'], { env: away, isHostless: true })).exitCode,
  ).toBe(0)
  expect((await world.cli(['deploy', 'hello', '--reason', 'by-key', '--json'])).exitCode).toBe(0)
  for (const command of [['status'], ['status', 'hello', '--json'], ['watch', 'hello'], ['enroll']])
    expect(await world.cli(command)).toMatchObject({ exitCode: 0 })
  const session = await world.request(`/v1/hosts/${HOST}/session`, {
    method: 'POST',
    headers: bearer(readToken),
  })
  expect(session.status).toBe(200)
  const cookie = /=([^;]+)/.exec(session.headers.get('set-cookie') ?? '')?.[1] ?? ''
  expect(
    (await world.request(`/v1/hosts/${HOST}`, { headers: { cookie: cookieOf(session.headers) } })).status,
  ).toBe(200)
  watch()

  const former = keyIn(world)
  expect((await world.cli(['rotate-key'])).exitCode).toBe(0)
  const secrets: Secrets = {
    'the enrolment key': world.enrollKey,
    'the webhook secret': webhookSecret,
    'the secret of the address': urlSecret,
    'a token that reads': readToken,
    'a token that deploys': deployToken,
    'the signature of a token': deployToken.split('.')[2] ?? '',
    'a session': cookie,
    'the former host key': former,
    'the host key': keyIn(world),
  }
  expect(secrets['the host key']).not.toBe(former)

  // As it should not be used: with each secret, wherever it does not belong.
  for (const secret of Object.values(secrets)) {
    const inPath = encodeURIComponent(secret)
    const posts: [string, Record<string, string>, string][] = [
      [`/hooks/${HOST}/hello/deploy`, json, JSON.stringify({ reason: secret, unknown: secret })],
      [
        `/hooks/${HOST}/hello/deploy`,
        { ...json, 'webhook-id': 'id', 'webhook-signature': `v1,${secret}` },
        `{"${secret}`,
      ],
      [`/hooks/${HOST}/hello/door/${inPath}x`, {}, secret],
      [`/hooks/${HOST}/hello/${inPath}`, json, '{}'],
      [`/hooks/${inPath}/hello/deploy/door`, json, '{}'],
      [`/v1/hosts/${HOST}/enroll`, { ...json, ...bearer(`${secret}x`) }, `{"publicKey":"${secret}"}`],
      [
        `/v1/hosts/${HOST}/stacks/hello/deploys`,
        { ...json, ...bearer(deployToken) },
        JSON.stringify({ image: secret, unknown: secret }),
      ],
      [`/v1/hosts/${HOST}/keys`, { ...json, ...bearer(deployToken) }, `{"publicKey":"${secret}"}`],
      [`/nowhere/${inPath}?token=${inPath}`, bearer(secret), secret],
    ]
    for (const [path, headers, body] of posts)
      expect((await world.request(path, { method: 'POST', headers, body })).status).toBeGreaterThanOrEqual(
        400,
      )
    expect(
      (await world.request(`/v1/hosts/${HOST}/deploys/${inPath}`, { headers: bearer(`${secret}x`) })).status,
    ).toBe(401)
  }
  const tooBig = JSON.stringify({ reason: urlSecret.padEnd(PUSH_BODY_BYTES_MAX + 1, urlSecret) })
  expect((await world.post('hello', 'big', { body: tooBig })).status).toBe(413)
  expect((await world.request(`/hooks/${HOST}/hello/door/${urlSecret}`, { method: 'GET' })).status).toBe(405)
  expect(
    (await world.request(`/hooks/${HOST}/hello/door/${urlSecret}/more`, { method: 'POST' })).status,
  ).toBe(404)
  // A secret that its own sender signed, where a name should be.
  expect(
    (await world.post('hello', 'senseless', { body: `{"image":"${webhookSecret} ${urlSecret}"}` })).status,
  ).toBe(400)

  // A person's slips.
  const slips = [
    await world.cli(['enroll'], { env: { ROPEWAY_ENROLL_KEY: `${world.enrollKey}x` } }),
    await world.cli(['status'], { env: { ...away, ROPEWAY_TOKEN: `${deployToken}x` }, isHostless: true }),
    await world.cli(['status'], { env: { ...away, ROPEWAY_TOKEN: urlSecret }, isHostless: true }),
    await world.cli(['agent'], { env: { HOOK_SECRET_HELLO: urlSecret, DOOR_SECRET: `${webhookSecret} ` } }),
    await world.cli(['agent'], { config: misconfigured(world, webhookSecret, urlSecret) }),
  ]
  expect(slips.map(({ exitCode }) => exitCode)).not.toContain(0)
  expect((await world.cli(['revoke', deployToken])).exitCode).toBe(0)
  expect((await world.cli(['status'], { env: away, isHostless: true })).exitCode).not.toBe(0)

  // Where to look: what everybody said, what the relay answered, and what is on the disks, while all is running and after.
  watch()
  const sinks: Sinks = { ...commandLines, ...answersOf(world) }
  for (const { name, stdout, stderr } of world.processes) {
    if (name !== 'ropeway token') sinks[`stdout of ${name}`] = bufferOf(stdout)
    sinks[`stderr of ${name}`] = bufferOf(stderr)
  }
  Object.assign(
    sinks,
    filesIn(world, world.agentData),
    filesIn(world, world.tmp),
    filesIn(world, world.relayData),
  )
  await world.end(world.agent)
  await world.end(world.relay)
  const left = { ...filesIn(world, world.agentData), ...filesIn(world, world.relayData) }
  Object.assign(sinks, prefixed('at the end: ', left), rowsIn(world))
  for (const folder of [world.agentData, world.relayData])
    expect.soft(statSync(folder).mode & 0o077, `${folder} is its owner’s alone`).toBe(0)

  // The search finds what is there: each secret in its own place.
  const found = (name: string, where: Buffer) =>
    formsOf(secrets[name] ?? '').some((form) => where.includes(form))
  expect(found('the host key', readFileSync(join(world.agentData, 'host-key.json')))).toBe(true)
  expect(found('a session', Buffer.from(session.headers.get('set-cookie') ?? ''))).toBe(true)
  expect(
    found(
      'a token that reads',
      bufferOf(world.processes.flatMap(({ name, stdout }) => (name === 'ropeway token' ? stdout : []))),
    ),
  ).toBe(true)
  expect(
    Object.entries(sinks).some(([where, held]) => isHubs(where) && found('the webhook secret', held)),
  ).toBe(true)
  expect(
    Object.entries(sinks).some(([where, held]) => where.startsWith('rows of') && held.includes('by-token')),
  ).toBe(true)
  expect(Object.keys(sinks).join('\n')).toMatch(/journal\.sqlite/)
  expect(Object.keys(sinks).join('\n')).toMatch(/command line of relay[^]*command line of agent/)

  const leaks = Object.entries(sinks).flatMap(([where, content]) =>
    Object.keys(secrets)
      .filter((what) => !isAllowed(what, where) && found(what, content))
      .map((what) => `${what} is in ${where}`),
  )
  expect(leaks).toEqual([])
})

function isHubs(where: string): boolean {
  return where.includes('relay/') && where.includes('Hub')
}

// SQLite overwrites what it deletes when it needs the room: of a token, which an unfinished deploy needs, only the rows can be free.
function isAllowed(what: string, where: string): boolean {
  if (what === 'the host key') return where.endsWith('agent/host-key.json')
  if (what === 'the webhook secret') return isHubs(where)
  return (
    /a token that deploys|the signature of a token/.test(what) &&
    isHubs(where) &&
    !where.startsWith('rows of')
  )
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** As it is, and as it may have been written on its way. */
function formsOf(secret: string): Buffer[] {
  const texts = [
    secret,
    encodeURIComponent(secret),
    btoa(secret).slice(0, -4),
    JSON.stringify(secret).slice(1, -1),
  ]
  return [...texts.map((text) => Buffer.from(text)), Buffer.from(secret, 'utf16le')]
}

function bufferOf(lines: readonly string[]): Buffer {
  return Buffer.from(lines.join('\n'))
}

function answersOf(world: World): Sinks {
  return Object.fromEntries(
    world.answers.map(({ status, headers, text }, n) => {
      const told = [...headers].filter(([name]) => name !== 'set-cookie')
      return [`answer ${n} (${status})`, Buffer.from(`${JSON.stringify(told)}\n${text}`)]
    }),
  )
}

function filesIn(world: World, folder: string): Sinks {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path))
  return Object.fromEntries(
    paths
      .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
      .map((path) => [relative(world.folder, path), readFileSync(path)]),
  )
}

/** What the relay's databases hold, read as databases. The relay must have ended. */
function rowsIn(world: World): Sinks {
  const databases = Object.keys(filesIn(world, world.relayData)).filter((path) => path.endsWith('.sqlite'))
  return Object.fromEntries(
    databases.map((path) => {
      const db = new DatabaseSync(join(world.folder, path), { readOnly: true })
      const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
      const rows = tables.flatMap(({ name }) => {
        const all = db.prepare(`SELECT * FROM "${String(name)}"`)
        all.setReadBigInts(true)
        return all.all()
      })
      db.close()
      const values = rows.flatMap((row) => Object.values(row))
      const texts = values.map((value) =>
        value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(String(value)),
      )
      return [`rows of ${path}`, Buffer.concat(texts.flatMap((text) => [text, Buffer.from('\n')]))]
    }),
  )
}

function prefixed(prefix: string, sinks: Sinks): Sinks {
  return Object.fromEntries(Object.entries(sinks).map(([where, content]) => [`${prefix}${where}`, content]))
}

/** The command lines of a process and of all that are in its group. */
function groupOf(leader: number): [string, Buffer][] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid): [string, Buffer][] => {
      try {
        const group = readFileSync(`/proc/${pid}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')[2]
        return Number(group) === leader ? [[pid, readFileSync(`/proc/${pid}/cmdline`)]] : []
      } catch {
        // It has ended in this moment.
        return []
      }
    })
}

function cookieOf(headers: Headers): string {
  return (headers.get('set-cookie') ?? '').split(';')[0] ?? ''
}

function keyIn(world: World): string {
  return (JSON.parse(readFileSync(join(world.agentData, 'host-key.json'), 'utf8')) as { d: string }).d
}

/** What people write at first: the secrets themselves, where only their names belong. */
function misconfigured(world: World, webhookSecret: string, urlSecret: string): string {
  const path = join(world.folder, 'misconfigured.yml')
  const config = JSON.parse(readFileSync(world.config, 'utf8')) as {
    stacks: Record<string, { triggers: object }>
  }
  const hello = config.stacks['hello']
  if (hello)
    hello.triggers = {
      deploy: { type: 'standard-webhooks', secret: `whsec_${webhookSecret}` },
      door: { type: 'url', secret: [urlSecret, { env: `whsec_${webhookSecret}` }] },
      pinned: { type: 'standard-webhooks-v1a', publicKey: `whsk_${webhookSecret}` },
    }
  writeFileSync(path, JSON.stringify(config, null, 2))
  return path
}
