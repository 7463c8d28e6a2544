import { expect, test } from 'vitest'
import { startAgent, type AgentOptions } from '../../../../agent/daemon/agent.ts'
import type { Config } from '../../../../agent/config/config.ts'
import { checkHello, helloOf } from '../../../../agent/daemon/link/hello.ts'
import { FRAME_BYTES_MAX, REQUEST_TTL_MS, TOKENS_REVOKED_MAX } from '../../../../shared/limits.ts'
import { encodeFrame } from '../../../../shared/protocol.ts'
import { configFor, SECRET, stackConfig } from '../../../support/host.ts'

function withTriggers(count: number): Config {
  const triggers = Array.from({ length: count }, (_, n) => ({
    type: 'standard-webhooks' as const,
    stack: 'hello',
    name: `trigger-${n}`,
    ttlMs: REQUEST_TTL_MS,
    keys: [SECRET, SECRET],
  }))
  return configFor('https://relay.example', [stackConfig('hello', SECRET, triggers)])
}

const fault = (check: () => void): unknown => {
  try {
    check()
  } catch (error) {
    return error
  }
  return undefined
}

const isRefused = (count: number) => fault(() => checkHello(withTriggers(count), 'test')) !== undefined

test('what no hello can carry stops the agent at its start, with the number of triggers and a cure', async () => {
  const config = withTriggers(600)
  const expected = {
    code: 'config-invalid',
    message: expect.stringMatching(/600 triggers in 1 stacks.* bytes/),
    cure: expect.stringContaining('remove triggers'),
  }
  expect(fault(() => checkHello(config, 'test'))).toMatchObject(expected)
  // Nothing else of the options is touched before.
  await expect(startAgent({ config, version: 'test' } as AgentOptions)).rejects.toMatchObject(expected)
})

test('what the schema refuses for another reason is told too', () => {
  const stacks = Array.from({ length: 300 }, (_, n) => stackConfig(`stack-${n}`, SECRET, []))
  expect(fault(() => checkHello(configFor('https://relay.example', stacks), 'test'))).toMatchObject({
    code: 'config-invalid',
    message: expect.stringContaining('0 triggers in 300 stacks'),
  })
})

test('whatever passes goes into one frame with every token revoked that may be', () => {
  const revoked = Array.from({ length: TOKENS_REVOKED_MAX }, () => crypto.randomUUID())
  let count = 1
  while (!isRefused(count + 1)) count += 1
  expect(count).toBeGreaterThan(100)
  const bytes = (of: number) => encodeFrame(helloOf(withTriggers(of), 'test', revoked)).length
  expect(bytes(count)).toBeLessThanOrEqual(FRAME_BYTES_MAX)
  expect(bytes(count + 1)).toBeGreaterThan(FRAME_BYTES_MAX)
})
