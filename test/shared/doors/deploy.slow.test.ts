// What is decided from events and ids, for every order in which they may come.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isFinal, nextStatus, STATUSES } from '../../../shared/deploy.ts'
import { TRUSTS } from '../../../shared/request.ts'
import { DEPLOY_ID_PATTERN, deployId } from '../../../shared/deploy-id.ts'
import { IDEMPOTENCY_KEY_PATTERN, URL_SECRET_PATTERN } from '../../../shared/triggers/index.ts'
import { NAME_PATTERN } from '../../../shared/limits.ts'
import { supersedes } from '../../../shared/supersede.ts'
import { describeEvent, EMPTY_PICTURE, nextPicture } from '../../../shared/words.ts'
import { anyEvent, anyName } from './frames.ts'
import { anyText, damaged } from './texts.ts'

test('a status is one of those there are, what ran is never queued again, and the end is the end', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 12 }), (events) => {
      let status = 'queued' as (typeof STATUSES)[number]
      for (const event of events) {
        if (isFinal(status)) {
          const ended = status
          expect(() => nextStatus(ended, event)).toThrow(`after ${ended}`)
          continue
        }
        const next = nextStatus(status, event)
        expect(STATUSES).toContain(next)
        if (status === 'running') expect(next).not.toBe('queued')
        status = next
      }
    }),
    { numRuns: 500 },
  )
})

test('every event, in every order, has words or none: they are never an accident', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ seq: fc.nat(), at: fc.double(), event: anyEvent }), { maxLength: 6 }),
      (log) => {
        let picture = EMPTY_PICTURE
        for (const logged of log) {
          picture = nextPicture(picture, logged)
          const words = describeEvent(picture, logged)
          expect(words === undefined || words.length > 0).toBe(true)
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('no chain of requests, each in the place of the last, lets a hint replace what was signed', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...TRUSTS), { minLength: 1, maxLength: 8 }), (trusts) => {
      const waiting = trusts.reduce((older, newer) =>
        supersedes({ trust: newer, request: {} }, { trust: older, request: {} }) ? newer : older,
      )
      expect(waiting).toBe(trusts.includes('signed') ? 'signed' : 'hint')
    }),
  )
})

test('other parts are another id, the same text parted elsewhere too; the same ones are the same', async () => {
  const parts = fc.array(anyText, { minLength: 1, maxLength: 4 })
  const pair = fc.oneof(
    fc.tuple(parts, parts),
    fc.tuple(parts, fc.nat()).map(([some, at]) => {
      const whole = some.join('')
      const place = at % (whole.length + 1)
      return [some, [whole.slice(0, place), whole.slice(place)]]
    }),
    parts.map((some) => [some, [some.join(',')]]),
  )
  await fc.assert(
    fc.asyncProperty(pair, async ([some = [], others = []]) => {
      const [id, again, other] = await Promise.all([
        deployId(...some),
        deployId(...some),
        deployId(...others),
      ])
      expect(id).toMatch(DEPLOY_ID_PATTERN)
      expect(again).toBe(id)
      expect(other === id).toBe(JSON.stringify(some) === JSON.stringify(others))
    }),
    { numRuns: 400 },
  )
})

test('what a name, key or secret may be needs no escaping in a URL, a file name or a header', () => {
  const near = fc.oneof(anyText, damaged(anyName), anyName, fc.stringMatching(URL_SECRET_PATTERN))
  fc.assert(
    fc.property(near, (text) => {
      for (const pattern of [NAME_PATTERN, IDEMPOTENCY_KEY_PATTERN, URL_SECRET_PATTERN, DEPLOY_ID_PATTERN])
        if (pattern.test(text)) {
          expect(encodeURIComponent(text)).toBe(text)
          expect(new URL(`https://x/a/${text}/b`).pathname).toBe(`/a/${text}/b`)
          expect(text).not.toMatch(/[\s.]/)
        }
    }),
    { numRuns: 1000 },
  )
})
