// The operator's door: whatever ropeway.yml holds, a Config that cannot be wrong, or one `config-invalid` that says in which lines.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseDuration } from '../../../agent/config/values.ts'
import { loadConfig, type Config } from '../../../agent/config/config.ts'
import { relayOrigin } from '../../../agent/config/relay-origin.ts'
import { parseImage } from '../../../shared/image.ts'
import { NAME_PATTERN } from '../../../shared/limits.ts'
import { reportOf } from '../../../shared/problems.ts'
import { triggerSchema } from '../../../shared/triggers/index.ts'
import { tempDir } from '../../support/host.ts'
import { partOfRuns } from '../../support/part.ts'
import { EXAMPLE_ENV } from '../../support/example-env.ts'
import { anyJson, anyText, damaged, wrongInOnePlace } from '../../shared/doors/texts.ts'
import { parse, stringify } from 'yaml'

const EXAMPLE = readFileSync(new URL('../../../example/ropeway.example.yml', import.meta.url), 'utf8')
const DURATION_MS_MAX = 24 * 3600_000

/** A directory with all that the example names; gives a reader for any text in its place. */
function reader(): (text: string | Uint8Array) => Promise<Config | undefined> {
  const dir = tempDir()
  mkdirSync(join(dir, 'proxy'))
  for (const [path, text] of Object.entries({
    'docker-compose.yml': 'services: {}\n',
    'hello.env': '',
    'proxy/nginx.conf': 'events {}\n',
    secret: `whsec_${btoa('abcdefghijklmnopqrstuvwxyz')}`,
  }))
    writeFileSync(join(dir, path), text)
  const file = join(dir, 'ropeway.yml')
  return async (text) => {
    writeFileSync(file, text)
    try {
      const config = await loadConfig(file, EXAMPLE_ENV)
      expectUsable(config)
      return config
    } catch (error) {
      const { code, message, log = [] } = reportOf(error)
      expect(code, message).toBe('config-invalid')
      expect(log.length).toBeGreaterThan(0)
      const lines = Buffer.from(text)
        .toString('utf8')
        .split(/\r\n|\r|\n/).length
      for (const fault of log) {
        expect(fault).toMatch(/^line \d+: /)
        const line = Number(/\d+/.exec(fault)?.[0])
        expect(line >= 1 && line <= lines, `${fault} of ${lines}`).toBe(true)
        for (const secret of Object.values(EXAMPLE_ENV)) expect(fault).not.toContain(secret)
      }
      return undefined
    }
  }
}

function expectUsable({ relay, host, stacks }: Config): void {
  expect(new URL(relay).origin).toBe(relay)
  expect(host).toMatch(NAME_PATTERN)
  expect(stacks.length).toBeGreaterThan(0)
  for (const stack of stacks) {
    expect(stack.name).toMatch(NAME_PATTERN)
    expect(stack.compose.length).toBeGreaterThan(0)
    for (const ms of [stack.drainTimeoutMs, stack.soakMs, stack.health.intervalMs, stack.health.timeoutMs])
      expect(Number.isInteger(ms) && ms >= 0 && ms <= DURATION_MS_MAX).toBe(true)
    expect(stack.deadlineMs >= 1000 && stack.deadlineMs <= DURATION_MS_MAX).toBe(true)
    expect(stack.releasesKept >= 1 && stack.releasesKept <= 100).toBe(true)
    for (const command of [stack.before, stack.after]) {
      if (!command) continue
      expect(command.command[0]).not.toBe('')
      // What a process can be given.
      for (const word of command.command) expect(word).toMatch(/^[^\0]*$/)
      expect(command.timeoutMs >= 1000 && command.timeoutMs <= DURATION_MS_MAX).toBe(true)
      expect(['run', 'skip', 'fail']).toContain(command.onRetry)
    }
    // What policy compares with is what any request's image becomes.
    for (const image of stack.allow.images ?? []) expect(parseImage(image)?.repository).toBe(image)
    for (const trigger of stack.triggers) expect(triggerSchema.parse(trigger)).toEqual(trigger)
  }
}

test('the example is a config', async () => {
  expect(await reader()(EXAMPLE)).toBeDefined()
})

test('the example after any accident is a config, or says in which lines it is none', async () => {
  const read = reader()
  await fc.assert(
    fc.asyncProperty(damaged(fc.constant(EXAMPLE)), async (text) => void (await read(text))),
    { numRuns: partOfRuns(200) },
  )
})

test('the example with any one value wrong is a config, or says in which lines it is none', async () => {
  const read = reader()
  await fc.assert(
    fc.asyncProperty(wrongInOnePlace(fc.constant(parse(EXAMPLE))), async (value) => {
      await read(stringify(value ?? null))
    }),
    { numRuns: partOfRuns(200) },
  )
})

test('any YAML, and any bytes, are a config or say in which lines they are none', async () => {
  const read = reader()
  const yaml = fc
    .array(
      fc.constantFrom(
        ...'relay: |host: |stacks:|\n|\n|\n  |\n    |a: |- |&a |*a |*b |<<: *a|? |!!binary |{|}|[|]|"|\'|# x|---\n|...\n|%YAML 1.2\n|\t|\0|\r'.split(
          '|',
        ),
        'compose: ./docker-compose.yml',
        'http://127.0.0.1:8787',
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join(''))
  const texts = fc.oneof(
    { weight: 4, arbitrary: yaml },
    anyText,
    anyJson.map((value) => stringify(value)),
    fc.uint8Array({ maxLength: 100 }),
  )
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      expect(await read(text)).toBeUndefined()
    }),
    { numRuns: partOfRuns(600) },
  )
})

test.each([
  ['an alias of nothing', 'relay: *nowhere\n'],
  ['an alias of itself', 'stacks: &a { b: *a }\n'],
  [
    'a billion laughs',
    `a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n${Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]\n`).join('')}`,
  ],
  ['depth', '['.repeat(5000)],
  ['depth that is closed', `relay: ${'['.repeat(2000)}${']'.repeat(2000)}\n`],
  ['depth by dashes', `relay:\n ${'- '.repeat(3000)}x\n`],
])('%s is a fault with its line', async (_, text) => {
  expect(await reader()(text)).toBeUndefined()
})

test('a duration is what it says, or none', () => {
  const unit = fc.constantFrom(...Object.entries({ ms: 1, s: 1000, m: 60_000, h: 3600_000 }))
  fc.assert(
    fc.property(
      fc.nat({ max: 999_999_999 }),
      fc.integer({ min: 0, max: 999 }),
      unit,
      (whole, part, [name, ms]) => {
        expect(parseDuration(`${whole}${name}`)).toBe(whole * ms)
        const decimal = `${whole}.${String(part).padStart(3, '0')}`
        expect(parseDuration(decimal + name)).toBe(Math.round(Number(decimal) * ms))
      },
    ),
  )
  fc.assert(
    fc.property(fc.oneof(anyJson, anyText, damaged(fc.constantFrom('100ms', '1.5h'))), (value) => {
      const ms = parseDuration(value)
      expect(ms === undefined || (Number.isSafeInteger(ms) && ms >= 0)).toBe(true)
      if (ms !== undefined) expect(value).toMatch(/^[\d.]+(ms|s|m|h)$/)
    }),
    { numRuns: 500 },
  )
})

test('a relay’s address is an origin or has a fault, and no token leaves by http for a public one', () => {
  const near = fc.oneof(
    anyText,
    fc.webUrl(),
    fc
      .tuple(
        fc.constantFrom('http://', 'https://', 'HTTP:\\\\', ' http:'),
        fc.oneof(
          fc.ipV4Extended(),
          fc.ipV6(),
          fc.domain(),
          fc.constantFrom(
            'localhost',
            '[::1]',
            '[::ffff:8.8.8.8]',
            '0x7f.1',
            'localhost.evil.example',
            'a.localhost.evil.example',
            '127.0.0.1.evil.example',
          ),
        ),
      )
      .map((parts) => parts.join('')),
    damaged(fc.constantFrom('http://127.0.0.1:8787', 'https://relay.example')),
  )
  fc.assert(
    fc.property(near, (text) => {
      const found = relayOrigin(text)
      if (!('origin' in found)) {
        expect(found.fault).not.toBe('')
        return
      }
      const { protocol, hostname, origin } = new URL(found.origin)
      expect(origin).toBe(found.origin)
      expect(relayOrigin(origin)).toEqual(found)
      if (protocol === 'http:')
        expect(hostname).toMatch(
          /^(127|10|172|192|169|100)\.[\d.]+$|^(.*\.)?localhost$|^\[(::1|f[cd].*|fe[89ab].*)\]$/,
        )
    }),
    { numRuns: 1500 },
  )
})
