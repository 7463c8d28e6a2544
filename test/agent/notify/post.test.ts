// Requests over real sockets: what hangs, drips, floods or is not there.

import { expect, test } from 'vitest'
import { ANSWER_BYTES_MAX } from '../../../agent/notify/post.ts'
import {
  nextTryAt,
  NOTICE_AGE_MS_MAX,
  RETRY_AFTER_MS_MAX,
  TRIES_MIN,
  WAIT_MS_MAX,
} from '../../../agent/notify/retry.ts'
import { retryAfter } from '../../../agent/notify/kind.ts'
import { TOKEN } from '../../support/notices.ts'
import { hang, platforms } from '../../support/platforms.ts'

const request = (url: string) => ({
  method: 'POST' as const,
  url: `${url}/own.example/${TOKEN}`,
  headers: {},
  body: '{}',
})
const never = new AbortController().signal

test('an endpoint that hangs is left after the deadline', async () => {
  const to = await platforms()
  to.next.push(hang)
  const startedAt = Date.now()
  expect(await to.send(request(to.url), never, 50)).toEqual({ fault: 'no answer within 0.05 s' })
  expect(Date.now() - startedAt).toBeLessThan(2000)
})

test('an answer that never ends counts by its status, once', async () => {
  const to = await platforms()
  to.next.push((response) => void response.writeHead(200).write('begun'))
  expect(await to.send(request(to.url), never, 1500)).toMatchObject({ status: 200, text: 'begun' })
})

test('a flood is read in part', async () => {
  const to = await platforms()
  to.next.push((response) => {
    response.writeHead(500)
    const more = setInterval(() => response.write('x'.repeat(65_536)), 1)
    response.on('close', () => clearInterval(more))
  })
  const answer = await to.send(request(to.url), never)
  expect(answer).toMatchObject({ status: 500 })
  expect('text' in answer && answer.text.length).toBeLessThanOrEqual(ANSWER_BYTES_MAX)
})

test('an address where nobody is, and one that is none, are told without the address', async () => {
  const to = await platforms()
  for (const url of ['http://127.0.0.1:9', 'http://', 'http://nowhere.invalid']) {
    const answer = await to.send({ ...request(to.url), url: `${url}/${TOKEN}` }, never, 3000)
    expect(answer).toMatchObject({ fault: expect.stringMatching(/^(not reached: |no answer)/) })
    expect(JSON.stringify(answer)).not.toContain(TOKEN)
  }
})

test.each([
  ['7', 7000],
  ['0.25', 250],
  ['Thu, 26 Nov 2026 12:00:30 GMT', 30_000],
  ['Thu, 26 Nov 2026 11:00:00 GMT', 0],
  ['soon', undefined],
  ['-1', undefined],
  ['', undefined],
])('Retry-After: %s', (text, expected) => {
  expect(retryAfter(new Headers(text ? { 'retry-after': text } : {}), Date.UTC(2026, 10, 26, 12))).toBe(
    expected,
  )
})

const LATER = { isSent: false, fault: 'HTTP 500', isFinal: false } as const

const waits = (random: number) =>
  [1, 2, 3, 4, 10, 11, 12, 99].map((tries) => (nextTryAt(LATER, { at: 0, tries }, 0, random) ?? NaN) / 1000)

test('tries come ever less often, up to a limit, and by chance within half of it', () => {
  expect(waits(1)).toEqual([1, 2, 4, 8, 512, 900, 900, 900])
  expect(waits(0)).toEqual([0.5, 1, 2, 4, 256, 450, 450, 450])
  expect(WAIT_MS_MAX).toBe(900_000)
})

const askedFor = (retryAfterMs: number) => nextTryAt({ ...LATER, retryAfterMs }, { at: 0, tries: 1 }, 1000, 1)

test('Retry-After is heeded, and does not silence a destination for ever', () => {
  expect(askedFor(60_000)).toBe(61_000)
  expect(askedFor(1)).toBe(2000)
  expect(askedFor(1e12)).toBe(1000 + RETRY_AFTER_MS_MAX)
})

test('what is final, or a day old, is given up; what is old and was tried a few times only is not', () => {
  expect(nextTryAt({ ...LATER, isFinal: true }, { at: 0, tries: 1 }, 0, 1)).toBeUndefined()
  const old = NOTICE_AGE_MS_MAX + 1
  expect(nextTryAt(LATER, { at: 0, tries: TRIES_MIN - 1 }, old, 1)).toBeGreaterThan(old)
  expect(nextTryAt(LATER, { at: 0, tries: TRIES_MIN }, old, 1)).toBeUndefined()
  expect(nextTryAt(LATER, { at: 0, tries: TRIES_MIN }, NOTICE_AGE_MS_MAX - 16_001, 1)).toBeDefined()
})
