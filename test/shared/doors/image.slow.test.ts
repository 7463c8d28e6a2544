// The door for image references: of any text either nothing, or a reference that Docker would read the same way.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { imageRef, isImageId, parseImage, type ImageRef } from '../../../shared/image.ts'
import { reportOf } from '../../../shared/problems.ts'
import { anyText, checkDoor, damaged } from './texts.ts'

const words = (text: string) => fc.constantFrom(...text.split(' '))
const part = words('a hello acme A Acme 0 a-b a.b a__b a_b - . _ é  x')
const host = words(
  'docker.io index.docker.io DOCKER.io Index.Docker.IO ghcr.io GHCR.io localhost LOCALHOST Acme 127.0.0.1:5000 [::1]:5000 [::1] a:1 a:123456 docker.io. library',
)
const DIGEST = `sha256:${'0a'.repeat(32)}`
const tag = fc.constantFrom('', ':v1', ':', ':V.1_-', ':é', `:${'x'.repeat(128)}`, `:${'x'.repeat(129)}`)
const digest = fc.constantFrom('', `@${DIGEST}`, `@${DIGEST}0`, '@', `@${DIGEST.toUpperCase()}`)
const nearReference = fc
  .tuple(fc.array(host, { maxLength: 2 }), fc.array(part, { minLength: 1, maxLength: 3 }), tag, digest)
  .map(([hosts, parts, some, other]) => [...hosts, ...parts].join('/') + some + other)

const rendered = ({ tag: some, digest: other }: ImageRef, repository: string) =>
  repository + (some === undefined ? '' : `:${some}`) + (other === undefined ? '' : `@${other}`)

/** Whether it is a reference. */
function expectReferenceOrNothing(text: string): boolean {
  const ref = parseImage(text)
  isImageId(text)
  if (ref === undefined) {
    try {
      imageRef(text)
      expect.unreachable()
    } catch (error) {
      expect(reportOf(error).code).toBe('request-invalid')
    }
    return false
  }
  // What was written, and its full form, mean the same image: else a policy would judge one and Docker pull the other.
  expect(rendered(ref, ref.written)).toBe(text)
  expect(parseImage(rendered(ref, ref.repository))).toEqual({ ...ref, written: ref.repository })
  expect(ref.repository).toMatch(/^[^/]+\/[^/]+/)
  // A registry's name is the same in capitals; a policy compares letter by letter.
  expect(ref.repository).toBe(ref.repository.toLowerCase())
  // It goes into command lines and URLs: nothing there that either would take for its own.
  expect(text).toMatch(/^[A-Za-z0-9[][A-Za-z0-9._\-/:@[\]]*$/)
  return true
}

test('text that is nearly a reference is one in every form, or none', async () => {
  await checkDoor(nearReference, expectReferenceOrNothing, { numRuns: 3000, letInMin: 60 })
})

test('any text, and any damaged reference, is a reference in every form, or none', async () => {
  await checkDoor(fc.oneof(anyText, damaged(nearReference)), expectReferenceOrNothing, {
    numRuns: 3000,
    letInMin: 60,
  })
})

test('the longest text is judged in no time, whatever it is made of', () => {
  const units = fc.array(
    fc.constantFrom('a', '-', '_', '__', '.', '/', ':', '@', 'A', 'a-', 'a.', '0:', '[:'),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  fc.assert(
    fc.property(
      fc.constantFrom('', 'a', 'a/', 'A.'),
      units,
      fc.constantFrom('', '!', '-', '@'),
      (head, unit, end) => {
        const text = (head + unit.join('').repeat(512)).slice(0, 512 - end.length) + end
        const begun = performance.now()
        parseImage(text)
        expect(performance.now() - begun, text).toBeLessThan(200)
      },
    ),
    { numRuns: 500 },
  )
})
