// The commands about keys and tokens.

import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadOrCreateKey } from '../../../agent/identity/identity.ts'
import { verifyToken } from '../../../shared/tokens.ts'
import { fakeRelay, hostDir, json, ropeway } from '../../support/cli.ts'
import { HOST } from '../../support/host.ts'

describe('token', () => {
  test('prints one token and nothing else, good for what was asked', async () => {
    const dir = hostDir()
    const { publicJwk } = await loadOrCreateKey(dir)
    const args = ['token', '--scope', 'read,deploy', '--stack', 'hello', '--ttl', '1h', '--actor', 'ci']
    const { code, stdout, stderr } = await ropeway([...args, '--data', dir], {}, dir)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const check = (now: Date) =>
      verifyToken(stdout.trim(), [publicJwk], { host: HOST, audience: 'http://127.0.0.1:9', now })
    expect(await check(new Date())).toMatchObject({
      actor: 'ci',
      scopes: ['read', 'deploy'],
      stacks: ['hello'],
    })
    await expect(check(new Date(Date.now() + 3600_000 + 120_000))).rejects.toThrow('not valid')
  })

  test('--json also has its id and when it ends', async () => {
    const dir = hostDir()
    const { publicJwk } = await loadOrCreateKey(dir)
    const before = Math.floor(Date.now() / 1000) * 1000
    const { stdout } = await ropeway(['token', '--json', '--ttl', '1h', '--data', dir], {}, dir)
    const { token, id, expiresAt } = JSON.parse(stdout) as { token: string; id: string; expiresAt: number }
    const expected = { host: HOST, audience: 'http://127.0.0.1:9', now: new Date() }
    expect(await verifyToken(token, [publicJwk], expected)).toMatchObject({ id, expiresAt })
    expect(expiresAt).toBeGreaterThanOrEqual(before + 3600_000)
  })

  test.each([
    ['--scope', 'agent'],
    ['--scope', 'everything'],
    ['--ttl', '10y'],
    ['--ttl', '367d'],
    ['--ttl', '0s'],
    ['--stack', 'ghost'],
  ])('%s %s is refused', async (...args) => {
    const dir = hostDir()
    await loadOrCreateKey(dir)
    const { code, stdout } = await ropeway(['token', ...args, '--data', dir], {}, dir)
    expect([code, stdout]).toEqual([2, ''])
  })
})

describe('revoke', () => {
  test('takes a token from standard input, tells the relay its id, and lists it', async () => {
    const relay = await fakeRelay((_, response) => json(response, 200, { host: HOST, revoked: 1 }))
    const dir = hostDir(relay.url)
    const { publicJwk } = await loadOrCreateKey(dir)
    const made = await ropeway(['token', '--json', '--data', dir], {}, dir)
    const { token, id } = JSON.parse(made.stdout) as { token: string; id: string }
    const { code, stdout, stderr } = await ropeway(['revoke', '-', '--data', dir], {}, dir, `${token}\n`)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toBe(`${id} is revoked on this host\n${relay.url} knows it\n`)
    const [put] = relay.seen
    expect(put).toMatchObject({ method: 'PUT', url: `/v1/hosts/${HOST}/revoked` })
    expect(JSON.parse(put?.body ?? '')).toEqual({ ids: [id] })
    const expected = { host: HOST, audience: relay.url, now: new Date() }
    const claims = await verifyToken(put?.headers.authorization?.slice(7) ?? '', [publicJwk], expected)
    expect(claims.scopes).toEqual(['agent'])
    const list = await ropeway(['revoke', '--list', '--data', dir], {}, dir)
    expect(list.stdout).toMatch(new RegExp(`^${id}  remembered until \\d{4}-.*Z\\n$`))
    expect(relay.seen).toHaveLength(1)
  })

  test('without the relay, it is done on this host, exits 1, and says what is left', async () => {
    const dir = hostDir()
    await loadOrCreateKey(dir)
    const id = '01234567-89ab-cdef-0123-456789abcdef'
    const { code, stdout, stderr } = await ropeway(['revoke', id, '--data', dir], {}, dir)
    expect(code).toBe(1)
    expect(stdout).toBe(`${id} is revoked on this host\n`)
    expect(stderr).toMatch(/relay-unreachable.*whose agent refuses the token already.*when the agent next/)
    const list = await ropeway(['revoke', '--list', '--json', '--data', dir], {}, dir)
    expect(JSON.parse(list.stdout)).toEqual({ revoked: [{ id, until: expect.any(Number) }] })
  })

  test('without a token, it is told what to pass', async () => {
    const dir = hostDir()
    await loadOrCreateKey(dir)
    for (const args of [[], ['-']]) {
      const { code, stderr } = await ropeway(['revoke', ...args, '--data', dir], {}, dir, ' \n')
      expect(code).toBe(2)
      expect(stderr).toContain('no token')
    }
  })
})

describe('rotate-key', () => {
  test('registers the new key by the present one, and signs with the new one from then on', async () => {
    const relay = await fakeRelay(({ method }, response) =>
      json(response, 200, method === 'POST' ? { host: HOST, keys: 2 } : { deploys: [] }),
    )
    const dir = hostDir(relay.url)
    const before = await loadOrCreateKey(dir)
    const args = ['rotate-key', '--keep', '1h', '--json', '--data', dir]
    const { code, stdout } = await ropeway(args, {}, dir)
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ host: HOST, relay: relay.url, isResumed: false })
    const after = await loadOrCreateKey(dir)
    const [post] = relay.seen
    expect(post).toMatchObject({ method: 'POST', url: `/v1/hosts/${HOST}/keys` })
    expect(JSON.parse(post?.body ?? '')).toEqual({ publicKey: after.publicJwk, keepSeconds: 3600 })
    const expected = { host: HOST, audience: relay.url, now: new Date() }
    const claims = await verifyToken(
      post?.headers.authorization?.slice(7) ?? '',
      [before.publicJwk],
      expected,
    )
    expect(claims.scopes).toEqual(['agent'])

    await ropeway(['watch', '--data', dir], {}, dir)
    const token = relay.seen[1]?.headers.authorization?.slice(7) ?? ''
    expect((await verifyToken(token, [after.publicJwk], expected)).scopes).toEqual(['read'])
  })

  test('a host that is taken because its rotation was interrupted is told to finish it', async () => {
    const relay = await fakeRelay((_, response) =>
      json(response, 409, { error: { code: 'host-taken', message: 'taken', cure: 'another name' } }),
    )
    const dir = hostDir(relay.url)
    await loadOrCreateKey(dir)
    const enroll = () => ropeway(['enroll', '--data', dir], { ROPEWAY_ENROLL_KEY: '0123456789abcdef' }, dir)
    expect((await enroll()).stderr).toContain('Another name')
    copyFileSync(join(dir, 'host-key.json'), join(dir, 'host-key-next.json'))
    expect((await enroll()).stderr).toContain('(host-taken). Run `ropeway rotate-key`')
  })
})

test('enroll makes a key and sends only its public half', async () => {
  const relay = await fakeRelay((_, response) => json(response, 201, { status: 'enrolled', host: HOST }))
  const dir = hostDir(relay.url)
  const data = join(dir, 'data')
  const { code, stdout } = await ropeway(
    ['enroll', '--data', data],
    { ROPEWAY_ENROLL_KEY: '0123456789abcdef' },
    dir,
  )
  expect(code).toBe(0)
  expect(stdout).toContain(`${HOST} is enrolled at ${relay.url}`)
  const { publicJwk } = await loadOrCreateKey(data)
  expect(relay.seen[0]).toMatchObject({ method: 'POST', url: `/v1/hosts/${HOST}/enroll` })
  expect(JSON.parse(relay.seen[0]?.body ?? '')).toEqual({ publicKey: publicJwk })
  expect(relay.seen[0]?.headers.authorization).toBe('Bearer 0123456789abcdef')
})
