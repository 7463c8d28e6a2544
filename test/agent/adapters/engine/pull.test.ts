// A pull that fails is explained by what docker says, and tried again where that passes: by a `docker` that says so.

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isPullable, pullImage } from '../../../../agent/adapters/engine/pull.ts'
import { until } from '../../../support/until.ts'

const REF = 'ghcr.io/acme/hello:v2'
const NO_PAUSE_MS = 1
const never = new AbortController().signal
const path = process.env['PATH'] ?? ''
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ropeway-docker-'))
  process.env['PATH'] = `${folder}:${path}`
})
afterEach(() => {
  process.env['PATH'] = path
  rmSync(folder, { recursive: true, force: true })
})

/** A docker that says one of these each time, the last for ever; an empty one is a success. */
function dockerSays(...texts: string[]): void {
  for (const [index, text] of texts.entries()) writeFileSync(join(folder, `${index + 1}`), text)
  const script = `#!/bin/sh
echo "$@" >>${folder}/calls
said=${folder}/$(wc -l <${folder}/calls | tr -d ' ')
[ -e "$said" ] || said=${folder}/${texts.length}
cat "$said" >&2
[ ! -s "$said" ]
`
  writeFileSync(join(folder, 'docker'), script)
  chmodSync(join(folder, 'docker'), 0o755)
}

const calls = () => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n')
const pull = () => pullImage(REF, () => {}, never, NO_PAUSE_MS)

test.each([
  ['toomanyrequests: You have reached your pull rate limit.', 'pull-failed', /docker login.*wait/],
  [
    'Error response from daemon: Head "https://ghcr.io/v2/acme/hello/manifests/v2": unauthorized',
    'pull-failed',
    /docker login/,
  ],
  [
    'failed to resolve reference "x": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials',
    'pull-failed',
    /docker login/,
  ],
  [
    'unexpected status from HEAD request to https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/x: 403 Forbidden',
    'pull-failed',
    /docker login/,
  ],
  ['failed to register layer: write /usr/lib/x: no space left on device', 'pull-failed', /make room/],
  [
    'Get "https://r.example/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    'pull-failed',
    /certs\.d/,
  ],
  [
    'Get "https://r.example/v2/": x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2025-01-01T00:00:00Z',
    'pull-failed',
    /clock/,
  ],
  [
    'error getting credentials - err: exec: "docker-credential-ecr-login": executable file not found in $PATH, out: ``',
    'pull-failed',
    /PATH/,
  ],
  [
    'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock',
    'engine-unreachable',
    /group docker/,
  ],
  [
    'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?',
    'engine-unreachable',
    /Docker runs/,
  ],
  [`content digest sha256:${'a'.repeat(64)}: not found`, 'pull-failed', /docker rmi/],
  ['dial tcp: lookup r.example on 127.0.0.53:53: no such host', 'pull-failed', /reaches the registry/],
  [
    'manifest for ghcr.io/acme/hello:v2 not found: manifest unknown: manifest unknown',
    'image-not-found',
    /name and tag/,
  ],
  [
    "pull access denied for hello, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    'image-not-found',
    /name and tag.*docker login/,
  ],
  [
    'failed to resolve reference "docker.io/library/x:v2": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    'image-not-found',
    /name and tag/,
  ],
  [
    'no matching manifest for linux/arm64/v8 in the manifest list entries',
    'platform-missing',
    /this platform/,
  ],
  ['no match for platform in manifest: not found', 'platform-missing', /this platform/],
])('%s', async (says, code, cure) => {
  dockerSays(`Error response from daemon: ${says}\n`)
  await expect(pull()).rejects.toMatchObject({
    code,
    cure: expect.stringMatching(cure),
    log: [`Error response from daemon: ${says}`],
  })
  expect(calls()).toEqual([`pull ${REF}`])
})

const PASSING = 'received unexpected HTTP status: 503 Service Unavailable\n'

test('what passes by itself is tried again', async () => {
  dockerSays(PASSING, 'unexpected EOF\n', '')
  await pull()
  expect(calls()).toHaveLength(3)
})

test('a registry that goes on failing is not asked for ever', async () => {
  dockerSays(PASSING)
  await expect(pull()).rejects.toMatchObject({
    code: 'pull-failed',
    cure: expect.stringMatching(/fault of its own/),
  })
  expect(calls()).toHaveLength(3)
})

test('an abort in the pause before the next try ends it, with its reason', async () => {
  dockerSays(PASSING)
  const stop = new AbortController()
  const pulling = pullImage(REF, () => {}, stop.signal, 60_000)
  await until('docker was called', () => existsSync(join(folder, 'calls')))
  stop.abort(new Error('enough'))
  await expect(pulling).rejects.toThrow('enough')
})

test.each([
  ['', true],
  ['manifest unknown\n', false],
  ["pull access denied for hello, repository does not exist or may require 'docker login'\n", false],
])('whether a registry has it, which says %j: %s', async (says, expected) => {
  dockerSays(says)
  const digest = `hello@sha256:${'a'.repeat(64)}`
  expect(await isPullable(digest, never)).toBe(expected)
  expect(calls()).toEqual([`pull --quiet ${digest}`])
})

test.each([
  ['dial tcp: lookup registry-1.docker.io: no such host\n', 'pull-failed'],
  ['unauthorized: authentication required\n', 'pull-failed'],
])('whether a registry has it is not known where it says %j', async (says, code) => {
  dockerSays(says)
  await expect(isPullable(`hello@sha256:${'a'.repeat(64)}`, never)).rejects.toMatchObject({ code })
})
