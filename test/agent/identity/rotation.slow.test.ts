// Rotation and revocation, ended at every single thing that they do to a file or ask of the relay. A process that is dead does nothing
// more, so after the chosen moment every operation fails; what is on the disk then is what the next run finds.

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import type * as Fs from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { run as revoke } from '../../../agent/cli/revoke.ts'
import { run as rotateKey } from '../../../agent/cli/rotate-key.ts'
import type { Io } from '../../../agent/cli/io.ts'
import { keyPath, loadOrCreateKey, openIdentity } from '../../../agent/identity/identity.ts'
import { revocationSchema, rotationSchema, type PublicKey } from '../../../shared/api.ts'
import { HOST_KEYS_MAX, TOKENS_REVOKED_MAX } from '../../../shared/limits.ts'
import { signToken, verifyToken } from '../../../shared/tokens.ts'
import { HOST, tempDir } from '../../support/host.ts'
import { until as waitUntil } from '../../support/until.ts'

const RELAY = 'http://127.0.0.1:9'
const DAY_MS = 24 * 3600_000

/** The process: what it has done so far, and when it dies. */
const life = vi.hoisted(() => ({
  left: Infinity,
  done: [] as string[],
  end: new AbortController(),
  step(what: string) {
    if (this.end.signal.aborted) throw new Error(`dead before ${what}`)
    if (this.left <= 0) {
      this.end.abort()
      throw new Error(`died at ${what}`)
    }
    this.left -= 1
    this.done.push(what)
  },
  rise(steps = Infinity) {
    this.left = steps
    this.done = []
    this.end = new AbortController()
  },
}))

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof Fs>()
  return {
    ...real,
    rename: (from: string, to: string) => (life.step('rename'), real.rename(from, to)),
    open: async (path: string, flags: string, mode?: number) => {
      life.step(`open ${flags}`)
      return mortal(await real.open(path, flags, mode))
    },
  }
})

// What the kernel does at a process's end, closing, is done whatever the step says.
function mortal(file: Fs.FileHandle): Fs.FileHandle {
  return new Proxy(file, {
    get: (target, name: keyof Fs.FileHandle) => {
      const method = target[name]
      if (typeof method !== 'function') return method
      return async (...args: unknown[]) => {
        const call = () => (method as (...all: unknown[]) => Promise<unknown>).apply(target, args)
        try {
          life.step(String(name))
        } catch (error) {
          if (name === 'close') await call()
          if (name === 'writeFile') await target.write(String(args[0]).slice(0, 9))
          throw error
        }
        return call()
      }
    },
  })
}

/** The relay, as worker/hub/facts.ts keeps a host's keys. */
function startRelay(first: PublicKey) {
  const relay = {
    keys: [{ publicKey: first, until: Infinity }],
    counting: () => relay.keys.filter((key) => key.until > Date.now()).map(({ publicKey }) => publicKey),
    revoked: [] as readonly string[],
    rotations: 0,
    isDown: false,
    /** Keeps the next request on its way until this resolves. */
    delay: undefined as Promise<unknown> | undefined,
    answer: async (request: Request): Promise<Response> => {
      const keys = relay.counting()
      const isRotation = request.url.endsWith('/keys')
      const token = request.headers.get('authorization')?.slice('Bearer '.length) ?? ''
      const expected = { host: HOST, audience: RELAY, now: new Date() }
      const claims = await verifyToken(token, isRotation ? keys.slice(0, 1) : keys, expected).catch(
        () => null,
      )
      if (!claims?.scopes.includes('agent'))
        return Response.json({ error: { code: 'unauthorized', message: 'no' } }, { status: 401 })
      const body: unknown = await request.json()
      if (!isRotation) {
        relay.revoked = revocationSchema.parse(body).ids
        return Response.json({ host: HOST, revoked: relay.revoked.length })
      }
      const { publicKey, keepSeconds } = rotationSchema.parse(body)
      if (keys[0]?.x !== publicKey.x) {
        const keptUntil = Date.now() + keepSeconds * 1000
        const kept = relay.keys.map((key) => ({ ...key, until: Math.min(key.until, keptUntil) }))
        relay.keys = [{ publicKey, until: Infinity }, ...kept.filter((key) => key.until > Date.now())]
        relay.rotations += 1
      }
      return Response.json({ host: HOST, keys: relay.keys.length })
    },
  }
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    life.step('ask the relay')
    if (relay.isDown) throw new TypeError('fetch failed')
    const { delay } = relay
    relay.delay = undefined
    await delay
    const response = await relay.answer(new Request(url, init))
    life.step('hear the relay')
    return response
  })
  onTestFinished(() => void vi.unstubAllGlobals())
  return relay
}

async function startHost() {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), '')
  const config = join(dir, 'ropeway.yml')
  writeFileSync(
    config,
    `relay: ${RELAY}\nhost: ${HOST}\nstacks: { hello: { compose: ./docker-compose.yml } }\n`,
  )
  const data = join(dir, 'data')
  const { publicJwk } = await loadOrCreateKey(data)
  const relay = startRelay(publicJwk)
  const said: string[] = []
  const stdout = { write: (text: string) => said.push(text) } as unknown as NodeJS.WriteStream
  const io = (): Io => ({ ...IO, stdout, signal: life.end.signal })
  return { data, config, publicJwk, relay, said, io, identity: openIdentity(data) }
}
const IO: Omit<Io, 'signal'> = {
  env: {},
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  version: 'test',
}
type Host = Awaited<ReturnType<typeof startHost>>

const rotate = ({ data, config, io }: Host, keep: string) => rotateKey({ data, config, keep }, io())

async function newToken({ identity }: Host): Promise<string> {
  const { privateKey } = await identity.signingKey()
  return await signToken(privateKey, {
    host: HOST,
    audience: RELAY,
    actor: 'ci',
    scopes: ['agent'],
    ttlSeconds: 3600,
    now: new Date(),
  })
}

async function countsOnHost({ identity }: Host, token: string, now = new Date()): Promise<boolean> {
  const keys = await identity.publicKeys(now)
  const revoked = await identity.revoked(now)
  const expected = { host: HOST, audience: RELAY, now: new Date(), revoked }
  return await verifyToken(token, keys, expected).then(
    () => true,
    () => false,
  )
}

async function countsOnRelay({ relay }: Host, token: string): Promise<boolean> {
  const expected = { host: HOST, audience: RELAY, now: new Date() }
  return await verifyToken(token, relay.counting(), expected).then(
    () => true,
    () => false,
  )
}

/** Runs something again and again, each time ended one step later, until it is not ended any more. How often that was. */
async function endedAtEveryStep(
  attempt: (life: { ended: (run: () => Promise<unknown>) => Promise<boolean> }) => Promise<void>,
): Promise<number> {
  for (let steps = 0; ; steps += 1) {
    let isEnded = false
    await attempt({
      ended: async (run) => {
        life.rise(steps)
        isEnded = await run().then(
          () => false,
          () => true,
        )
        life.rise()
        return isEnded
      },
    })
    if (!isEnded) return steps
  }
}

beforeEach(() => life.rise())

describe('rotate-key', () => {
  test('puts a new key in the place of the present one, whose tokens count as long as was said', async () => {
    const host = await startHost()
    const token = await newToken(host)
    expect(await rotate(host, '1h')).toBe(0)
    const [present, former, ...more] = await host.identity.publicKeys(new Date())
    expect(present?.x).toBe((await host.identity.signingKey()).publicJwk.x)
    expect(present?.x).not.toBe(host.publicJwk.x)
    expect([former, more]).toEqual([host.publicJwk, []])
    expect(host.relay.keys.map(({ publicKey }) => publicKey)).toEqual([present, former])
    expect(await countsOnHost(host, token)).toBe(true)
    expect(await countsOnHost(host, token, new Date(Date.now() + 3601_000))).toBe(false)
    for (const name of ['host-key.json', 'host-keys-old.json'])
      expect(statSync(join(host.data, name)).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(host.data, 'host-keys-old.json'), 'utf8')).not.toContain('"d"')
    expect(host.said.join('')).toContain(`${HOST} has a new key at ${RELAY}`)
  })

  test('--keep 0s ends every token at once, those of earlier keys as well', async () => {
    const host = await startHost()
    const tokens = [await newToken(host)]
    await rotate(host, '24h')
    tokens.push(await newToken(host))
    await rotate(host, '0s')
    for (const token of tokens) {
      expect(await countsOnHost(host, token)).toBe(false)
      expect(await countsOnRelay(host, token)).toBe(false)
    }
    expect(await host.identity.publicKeys(new Date())).toHaveLength(1)
  })

  test('no former key counts longer than the one that was replaced last', async () => {
    const host = await startHost()
    await rotate(host, '24h')
    await rotate(host, '1h')
    expect(await host.identity.publicKeys(new Date())).toHaveLength(3)
    expect(await host.identity.publicKeys(new Date(Date.now() + 3601_000))).toHaveLength(1)
  })

  test('more former keys than count are refused before the relay is asked, with the cure', async () => {
    const host = await startHost()
    for (let keys = 1; keys < HOST_KEYS_MAX; keys += 1) await rotate(host, '24h')
    await expect(rotate(host, '24h')).rejects.toMatchObject({
      code: 'usage-invalid',
      cure: expect.stringContaining('--keep 0s'),
    })
    expect(host.relay.rotations).toBe(HOST_KEYS_MAX - 1)
    await rotate(host, '0s')
    expect(host.relay.keys).toHaveLength(1)
  })

  test('a relay that refuses both keys is told by what it said first, and nothing is replaced', async () => {
    const host = await startHost()
    host.relay.keys = []
    await expect(rotate(host, '24h')).rejects.toMatchObject({ code: 'unauthorized', message: 'no' })
    expect((await host.identity.signingKey()).publicJwk).toEqual(host.publicJwk)
  })

  test.each(['24h', '0s'])(
    'ended at any step, the host goes on as it was, and the next run finishes it (--keep %s)',
    async (keep) => {
      const steps = await endedAtEveryStep(async ({ ended }) => {
        const host = await startHost()
        const token = await newToken(host)
        const isEnded = await ended(() => rotate(host, keep))
        const isSwapped = (await host.identity.signingKey()).publicJwk.x !== host.publicJwk.x
        if (isEnded && keep === '24h') {
          expect(await countsOnHost(host, token)).toBe(true)
          expect(await countsOnRelay(host, token)).toBe(true)
          expect(await countsOnRelay(host, await newToken(host))).toBe(true)
        }
        if (isEnded) await rotate(host, keep)

        const { publicJwk } = await host.identity.signingKey()
        expect(publicJwk.x).not.toBe(host.publicJwk.x)
        expect(host.relay.keys[0]?.publicKey).toEqual(publicJwk)
        expect(host.relay.rotations).toBe(isEnded && isSwapped ? 2 : 1)
        expect(await countsOnHost(host, token)).toBe(keep === '24h')
        expect(await countsOnRelay(host, token)).toBe(keep === '24h')
        expect(readdirSync(host.data).toSorted()).toEqual([
          'host-key.json',
          'host-key.json.lock',
          'host-keys-old.json',
        ])
      })
      // A rotation that did nothing could not be ended: this many are known.
      expect(steps).toBeGreaterThan(20)
    },
  )

  test('what is written survives a power cut: synced before it is renamed, and the folder after', async () => {
    const host = await startHost()
    life.rise()
    await rotate(host, '24h')
    await revokeAll(host, [ID])
    const synced = life.done.join(' ').replaceAll(' chown', '')
    const renames = life.done.filter((what) => what === 'rename').length
    expect(synced.match(/open w writeFile sync close rename/g)).toHaveLength(2 + 1)
    expect(synced.match(/rename open r sync close/g)).toHaveLength(renames)
    expect(renames).toBe(3 + 1)
  })

  test('--keep 0s after an interrupted --keep 24h leaves no former key', async () => {
    await endedAtEveryStep(async ({ ended }) => {
      const host = await startHost()
      const token = await newToken(host)
      if (!(await ended(() => rotate(host, '24h')))) return
      await rotate(host, '0s')
      expect(host.relay.keys).toHaveLength(1)
      expect(await countsOnRelay(host, token)).toBe(false)
      expect(await countsOnHost(host, token)).toBe(false)
    })
  })

  test('two at once are two rotations, one after the other', async () => {
    const host = await startHost()
    await Promise.all([rotate(host, '24h'), rotate(host, '24h')])
    expect(host.relay.rotations).toBe(2)
    const { publicJwk } = await host.identity.signingKey()
    expect(host.relay.keys[0]?.publicKey).toEqual(publicJwk)
    expect(await host.identity.publicKeys(new Date())).toHaveLength(3)
  })

  test('a damaged next key names its file and the cure, and the present key stays', async () => {
    const host = await startHost()
    writeFileSync(join(host.data, 'host-key-next.json'), '{', { mode: 0o600 })
    await expect(rotate(host, '24h')).rejects.toMatchObject({
      code: 'key-unusable',
      message: expect.stringContaining('host-key-next.json'),
      cure: expect.stringContaining('delete it'),
    })
    expect((await host.identity.signingKey()).publicJwk).toEqual(host.publicJwk)
  })
})

const ID = '01234567-89ab-cdef-0123-456789abcdef'
const idOf = (index: number) => `01234567-89ab-cdef-0123-${String(index).padStart(12, '0')}`
const revokeAll = ({ data, config, io }: Host, words: readonly string[]) =>
  revoke(words, { data, config }, io())

describe('revoke', () => {
  test('ends a token on the host and on the relay; others count on', async () => {
    const host = await startHost()
    const [token, other] = [await newToken(host), await newToken(host)]
    expect(await revokeAll(host, [token, ID])).toBe(0)
    expect([await countsOnHost(host, token), await countsOnHost(host, other)]).toEqual([false, true])
    expect(host.relay.revoked).toEqual(await host.identity.revoked(new Date()))
    expect(host.relay.revoked).toContain(ID)
    expect(statSync(join(host.data, 'revoked.json')).mode & 0o777).toBe(0o600)
    expect(host.said.join('')).not.toContain(token)
  })

  test('a token is remembered for as long as a request that it made may wait, then forgotten', async () => {
    const host = await startHost()
    await revokeAll(host, [await newToken(host)])
    const after = (ms: number) => host.identity.revoked(new Date(Date.now() + ms))
    expect(await after(3600_000 + DAY_MS)).toHaveLength(1)
    expect(await after(3600_000 + DAY_MS + 2 * 3600_000)).toEqual([])
    const text = readFileSync(join(host.data, 'revoked.json'), 'utf8')
    writeFileSync(join(host.data, 'revoked.json'), text.replace(/"until":\d+/, '"until":1'))
    await revokeAll(host, [ID])
    expect(JSON.parse(readFileSync(join(host.data, 'revoked.json'), 'utf8'))).toEqual([
      { id: ID, until: expect.any(Number) },
    ])
  })

  test('an id alone is remembered for as long as any token may live', async () => {
    const host = await startHost()
    await revokeAll(host, [ID])
    expect(await host.identity.revoked(new Date(Date.now() + 366 * DAY_MS))).toEqual([ID])
  })

  test('ended at any step, no earlier revocation is lost, and the next run finishes it', async () => {
    const steps = await endedAtEveryStep(async ({ ended }) => {
      const host = await startHost()
      const token = await newToken(host)
      await revokeAll(host, [ID])
      const isEnded = await ended(() => revokeAll(host, [token]))
      expect(await host.identity.revoked(new Date())).toContain(ID)
      if (isEnded) await revokeAll(host, [token])
      expect(await countsOnHost(host, token)).toBe(false)
      expect(host.relay.revoked).toEqual(await host.identity.revoked(new Date()))
      expect(host.relay.revoked).toHaveLength(2)
    })
    expect(steps).toBeGreaterThan(10)
  })

  test('many at once are all revoked, and the relay knows them all', async () => {
    const host = await startHost()
    const ids = Array.from({ length: 8 }, (_, index) => idOf(index))
    await Promise.all(ids.map((id) => revokeAll(host, [id])))
    expect((await host.identity.revoked(new Date())).toSorted()).toEqual(ids)
    expect(host.relay.revoked.toSorted()).toEqual(ids)
  })

  test('a list that reaches the relay after a newer one is followed by the newest', async () => {
    const host = await startHost()
    const { promise, resolve } = Promise.withResolvers<void>()
    host.relay.delay = promise
    const late = revokeAll(host, [idOf(1)])
    await waitUntil('the first request is on its way', () => host.relay.delay === undefined)
    await revokeAll(host, [idOf(2)])
    resolve()
    await late
    expect(host.relay.revoked).toEqual([idOf(1), idOf(2)])
  })

  test('while the relay is down, the token is revoked on the host, and the message says so', async () => {
    const host = await startHost()
    const token = await newToken(host)
    host.relay.isDown = true
    await expect(revokeAll(host, [token])).rejects.toMatchObject({
      code: 'relay-unreachable',
      cure: expect.stringMatching(/this host.*already.*when the agent next connects.*repeated/),
    })
    expect(await countsOnHost(host, token)).toBe(false)
    host.relay.isDown = false
    await revokeAll(host, [token])
    expect(host.relay.revoked).toHaveLength(1)
  })

  test('more than the list may hold are refused with the cure, and none of them is added', async () => {
    const host = await startHost()
    await revokeAll(
      host,
      Array.from({ length: TOKENS_REVOKED_MAX }, (_, index) => idOf(index)),
    )
    await revokeAll(host, [idOf(0)])
    await expect(revokeAll(host, [idOf(TOKENS_REVOKED_MAX)])).rejects.toMatchObject({
      code: 'usage-invalid',
      cure: expect.stringContaining('rotate-key --keep 0s'),
    })
    expect(await host.identity.revoked(new Date())).toHaveLength(TOKENS_REVOKED_MAX)
  })

  test('a token of another host, half a token, or anything else is refused, unnamed, and nothing is revoked', async () => {
    const host = await startHost()
    const { privateKey } = await host.identity.signingKey()
    const own = await newToken(host)
    const options = {
      audience: RELAY,
      actor: 'a',
      scopes: ['read'] as const,
      ttlSeconds: 60,
      now: new Date(),
    }
    const foreign = await signToken(privateKey, { host: 'vps-2', ...options })
    for (const [word, message] of [
      [foreign, `token 2 is one of host "vps-2", not of ${HOST}`],
      [own.slice(0, 40), 'token 2 is neither'],
      ['a.b.c', 'token 2 is neither'],
      [ID.slice(1), 'token 2 is neither'],
    ] as const) {
      const fault: unknown = await revokeAll(host, [own, word]).catch((error: unknown) => error)
      expect(fault).toMatchObject({ code: 'usage-invalid', message: expect.stringContaining(message) })
      expect(JSON.stringify(fault)).not.toContain(word)
    }
    expect(await host.identity.revoked(new Date())).toEqual([])
  })
})

describe('a damaged file is told with its name and the cure, and never taken for an empty one', () => {
  test.each(['', '[', '{}', '[{"id":"a"}]'])('revoked.json with %j', async (text) => {
    const host = await startHost()
    writeFileSync(join(host.data, 'revoked.json'), text)
    const expected = {
      code: 'key-unusable',
      message: expect.stringContaining('revoked.json does not hold'),
      cure: expect.stringContaining('rotate-key --keep 0s'),
    }
    await expect(host.identity.revoked(new Date())).rejects.toMatchObject(expected)
    await expect(revokeAll(host, [ID])).rejects.toMatchObject(expected)
    expect(readFileSync(join(host.data, 'revoked.json'), 'utf8')).toBe(text)
  })

  test.each(['', '[', '{}', '[{"publicKey":{},"until":1}]'])('host-keys-old.json with %j', async (text) => {
    const host = await startHost()
    writeFileSync(join(host.data, 'host-keys-old.json'), text)
    const expected = {
      code: 'key-unusable',
      message: expect.stringContaining('host-keys-old.json does not hold'),
      cure: expect.stringContaining('delete it'),
    }
    await expect(host.identity.publicKeys(new Date())).rejects.toMatchObject(expected)
    await expect(rotate(host, '24h')).rejects.toMatchObject(expected)
    expect(host.relay.rotations).toBe(0)
    expect(readFileSync(keyPath(host.data), 'utf8')).toContain(host.publicJwk.x)
  })
})
