// What it costs to verify and read one request, by sender, in workerd. node test/bench/senders.ts [--requests N] [--rounds N]
//
// A Worker's clock stands still while it computes, so it is told to do the same several times and is timed from outside; the same request
// with nothing to do is taken off. Bodies are as long as they may be, and of many small parts, which take longer to read than a few long ones.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { Miniflare } from 'miniflare'
import { HOOK_BODY_BYTES_MAX, PUSH_BODY_BYTES_MAX } from '../../shared/limits.ts'
import { keyFormOf } from '../../shared/triggers/credentials.ts'
import { REGISTRIES, type RegistryType } from '../../shared/triggers/registries/index.ts'
import type { Registry } from '../../shared/triggers/registries/registry.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { hmacHex, SENDERS } from '../support/notifications.ts'
import { atEnd, bench, say } from './lifetime.ts'
import { median, millis, percentile, printTable, printText } from './report.ts'

const { values } = parseArgs({
  options: { requests: { type: 'string', default: '200' }, rounds: { type: 'string' } },
})
const requests = Number(values.requests)
/** Of one request, so that the wire is a small part of it. */
const TIMES = 5
const WARM_UP = 20
/** What the free plan gives a request. https://developers.cloudflare.com/workers/platform/limits/ */
const FREE_CPU_MS = 10

const COMPATIBILITY_DATE = '2026-07-30'
const SECRET = 'a-secret-of-some-length-for-a-benchmark'
const AUDIENCE = 'https://relay.example/hooks/vps-1/hello/push'
const ISSUER = 'https://issuer.example'
const keys = await generateKeyPair('RS256', { extractable: true })
const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'RS256' }] }

interface Asked {
  readonly name: string
  readonly body: string
  readonly asked: object
}

await bench(async () => {
  const url = await worker()
  const all = [
    ...(await Promise.all((Object.keys(SENDERS) as RegistryType[]).map(ofRegistry))),
    ...(await others()),
  ]
  const rows: string[][] = []
  for (const { name, body, asked } of all) {
    say(name)
    const times: number[] = []
    const idle: number[] = []
    for (let n = 0; n < WARM_UP + requests; n += 1) {
      const [bare, full] = [
        await time(url, { ...asked, times: 0 }, body),
        await time(url, { ...asked, times: TIMES }, body),
      ]
      if (n < WARM_UP) continue
      idle.push(bare)
      times.push(full)
    }
    const each = times.map((ms) => Math.max(0, ms - median(idle)) / TIMES)
    const [p50, p99] = [percentile(each, 50), percentile(each, 99)]
    rows.push([
      name,
      `${Math.round(body.length / 1024)} KiB`,
      millis(p50),
      millis(p99),
      p99 < FREE_CPU_MS ? 'yes' : 'no',
    ])
  }
  printTable(
    `Verifying and reading one request in workerd (${requests} requests of ${TIMES} times)`,
    ['', 'body', 'p50', 'p99', `p99 below ${FREE_CPU_MS} ms`],
    rows,
  )
  printText(`The free plan gives a request ${FREE_CPU_MS} ms of CPU.`)
})

async function time(url: string, asked: object & { times: number }, body: string): Promise<number> {
  const startedAt = performance.now()
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'x-asked': encodeURIComponent(JSON.stringify(asked)) },
    body,
  })
  const said = (await answer.json()) as { isGood?: boolean }
  const ms = performance.now() - startedAt
  if (asked.times > 0 && !said.isGood) throw new Error(`not verified: ${JSON.stringify(asked).slice(0, 200)}`)
  return ms
}

async function ofRegistry(type: RegistryType): Promise<Asked> {
  const sent = SENDERS[type].push('v2')
  const body = filled(sent.body, PUSH_BODY_BYTES_MAX)
  const { credential } = REGISTRIES[type] as Registry
  const hash = createHash('sha256').update(SECRET).digest('hex')
  const key = keyFormOf(credential, SECRET) === 'hash' ? hash : SECRET
  const rule = {
    stack: 'hello',
    name: 'push',
    ttlMs: 1000,
    image: `registry.example/${SENDERS[type].path}`,
    path: SENDERS[type].path,
    tags: ['v*'],
    settleMs: 0,
  }
  const email = 'push@acme.iam.gserviceaccount.com'
  const trigger =
    type === 'artifact-registry'
      ? {
          type,
          ...rule,
          issuer: ISSUER,
          jwks: `${ISSUER}/keys`,
          audience: AUDIENCE,
          claims: { email: [email] },
        }
      : { type, ...rule, keys: [key] }
  const headers: Record<string, string> = { ...sent.headers }
  if (credential === 'authorization') headers['authorization'] = `Bearer ${SECRET}`
  else if (credential === 'gitlab') headers['x-gitlab-token'] = SECRET
  else if (credential === 'google')
    headers['authorization'] = `Bearer ${await token({ email, email_verified: true })}`
  else if (credential !== 'path') headers[credential.header] = credential.prefix + hmacHex(SECRET, body)
  return {
    name: type,
    body,
    asked: { trigger, headers, jwks, ...(credential === 'path' ? { secret: SECRET } : {}) },
  }
}

async function others(): Promise<Asked[]> {
  const body = `{"reason":"${'x'.repeat(400)}"}`.padEnd(HOOK_BODY_BYTES_MAX)
  const secret = `whsec_${btoa('0123456789abcdefghijklmnopqrstuv')}`
  const request = {
    id: 'msg_1',
    timestampSeconds: Math.floor(Date.now() / 1000),
    body: new TextEncoder().encode(body),
  }
  const headers = await signStandardWebhook(secret, request)
  const common = { stack: 'hello', name: 'push', ttlMs: 1000 }
  const claims = {
    repository_id: ['1'],
    repository_owner_id: ['2'],
    ref: ['refs/heads/main'],
    event_name: ['push'],
  }
  const said = { repository_id: '1', repository_owner_id: '2', ref: 'refs/heads/main', event_name: 'push' }
  const trigger = {
    type: 'github-actions',
    ...common,
    issuer: ISSUER,
    jwks: `${ISSUER}/keys`,
    audience: AUDIENCE,
    bind: false,
    claims,
  }
  return [
    {
      name: 'standard-webhooks',
      body,
      asked: { trigger: { type: 'standard-webhooks', ...common, keys: [secret] }, headers },
    },
    {
      name: 'github-actions',
      body,
      asked: { trigger, headers: { authorization: `Bearer ${await token(said)}` }, jwks },
    },
  ]
}

function token(claims: Record<string, unknown>): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const times = { iat: now, nbf: now, exp: now + 890 }
  return new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: '1', jti: '1', ...times, ...claims })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: 'one' })
    .sign(keys.privateKey)
}

/** The same object with as many small objects more as fit. */
function filled(body: string, bytes: number): string {
  const one = '{"digest":"sha256:0123456789abcdef","size":528,"tags":["a","b"],"by":null}'
  const count = Math.floor((bytes - body.length - 20) / (one.length + 1))
  return `${body.slice(0, -1)},"more":[${Array.from({ length: count }, () => one).join(',')}]}`
}

async function worker(): Promise<string> {
  const folder = await mkdtemp('/tmp/ropeway-senders-')
  atEnd(() => rm(folder, { recursive: true, force: true }))
  const root = join(import.meta.dirname, '../..')
  const config = join(folder, 'wrangler.toml')
  await writeFile(config, `name = "senders"\ncompatibility_date = "${COMPATIBILITY_DATE}"\n`)
  const args = [
    'deploy',
    join(import.meta.dirname, 'senders-worker.js'),
    '--config',
    config,
    '--dry-run',
    '--outdir',
    folder,
  ]
  await promisify(execFile)(
    process.execPath,
    [join(root, 'node_modules/wrangler/bin/wrangler.js'), ...args],
    {
      cwd: folder,
      env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: '1', NO_UPDATE_NOTIFIER: '1' },
    },
  )
  const [file = ''] = (await readdir(folder)).filter((name) => name.endsWith('.js'))
  const script = await readFile(join(folder, file), 'utf8')
  const miniflare = new Miniflare({
    name: 'senders',
    modules: true,
    script,
    compatibilityDate: COMPATIBILITY_DATE,
    host: '127.0.0.1',
    cf: false,
    logRequests: false,
  })
  atEnd(() => miniflare.dispose())
  return (await miniflare.ready).origin
}
