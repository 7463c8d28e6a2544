// Arbitraries for doors: what is nearly right finds more faults than noise.

import fc from 'fast-check'
import { expect } from 'vitest'

/** Strings of every kind, lone surrogates, controls and the names that JavaScript objects trip over among them. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 8 })
    .map((codes) => String.fromCharCode(...codes)),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'valueOf', '', '\0', '\ud800', '\udfff', '\u2028'),
  // Longer in bytes than in characters, and longer than a close reason may be.
  fc.constantFrom('日'.repeat(60), '😀'.repeat(40), 'x'.repeat(300)),
)

const anyNumber = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(0, -0, -1, 0.5, 1e21, -1e308, Number.MAX_SAFE_INTEGER + 1, Number.MIN_VALUE),
)

/** Any JSON value, small, or nested far deeper than anything of ours. */
export const anyJson: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(fc.constant(null), fc.boolean(), anyNumber, anyText),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(anyText, tie('value'), { maxKeys: 4 }),
  ),
})).value

/**
 * Checks a property of all that a door lets in. `judge` says whether this was let in: where too little was, the property says nothing, as of
 * a door that is shut for everybody.
 */
export async function checkDoor<T>(
  inputs: fc.Arbitrary<T>,
  judge: (input: T) => boolean | Promise<boolean>,
  { numRuns, letInMin }: { numRuns: number; letInMin: number },
): Promise<void> {
  let letIn = 0
  await fc.assert(
    fc.asyncProperty(inputs, async (input) => {
      if (await judge(input)) letIn += 1
    }),
    { numRuns },
  )
  expect(letIn, `let in of ${numRuns}`).toBeGreaterThanOrEqual(letInMin)
}

/** JSON text with what JSON.stringify never writes: keys twice, numbers beyond every range, depth. */
export const anyJsonText: fc.Arbitrary<string> = fc.oneof(
  anyJson.map((value) => JSON.stringify(value)),
  fc
    .tuple(fc.constantFrom('[', '{"a":', '{"env":', '['), fc.constantFrom(2, 100, 4000))
    .map(([open, depth]) => open.repeat(depth) + '1' + (open.startsWith('{') ? '}' : ']').repeat(depth)),
  fc.constantFrom(
    '1e999',
    '-1e999',
    '1'.repeat(400),
    '0x1',
    'NaN',
    '01',
    '"\\ud800"',
    '{"a":1,"a":2}',
    '\ufeff{}',
  ),
)

/** The same text after one to four small accidents: a part lost, repeated, moved or overwritten. */
export function damaged(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const place = fc.double({ min: 0, max: 1, noNaN: true })
  const accident = fc.record({
    at: place,
    length: fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 3 }) },
      fc.integer({ min: 0, max: 60 }),
    ),
    kind: fc.constantFrom('lose', 'repeat', 'overwrite', 'move' as const),
    to: place,
    by: fc.oneof(
      anyText,
      fc.constantFrom('"', '\\', '{', '}', ',', ':', '[', '\\u0000', '\n', ' ', '-', '1e9'),
    ),
  })
  return fc.tuple(text, fc.array(accident, { minLength: 1, maxLength: 4 })).map(([whole, accidents]) => {
    for (const { at, length, kind, to, by } of accidents) {
      const start = Math.floor(at * whole.length)
      const part = whole.slice(start, start + length)
      const [before, after] = [whole.slice(0, start), whole.slice(start + length)]
      if (kind === 'lose') whole = before + after
      else if (kind === 'repeat') whole = before + part + part + after
      else if (kind === 'overwrite') whole = before + by + after
      else {
        const rest = before + after
        const there = Math.floor(to * rest.length)
        whole = rest.slice(0, there) + part + rest.slice(there)
      }
    }
    return whole
  })
}

/** A value with one place of it, at any depth, wrong: another type, gone, one more, or under another name. */
export function wrongInOnePlace(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const change = fc.record({
    place: fc.nat(),
    kind: fc.constantFrom('replace', 'remove', 'add', 'rename' as const),
    by: anyJson,
    key: anyText,
  })
  return fc.tuple(value, change).map(([whole, { place, kind, by, key }]) => {
    const copy: { root: unknown } = structuredClone({ root: whole })
    const places = placesOf(copy)
    const { parent, name } = places[place % places.length]!
    if (kind === 'replace') put(parent, name, by)
    else if (kind === 'add') put(parent, Array.isArray(parent) ? String(parent.length) : key, by)
    else {
      const was = parent[name]
      if (Array.isArray(parent)) parent.splice(Number(name), 1)
      else Reflect.deleteProperty(parent, name)
      if (kind === 'rename' && !Array.isArray(parent)) put(parent, key, was)
    }
    return copy.root
  })
}

type Node = Record<string, unknown>

function placesOf(root: object): { parent: Node; name: string }[] {
  return Object.entries(root).flatMap(([name, child]) => [
    { parent: root as Node, name },
    ...(typeof child === 'object' && child !== null ? placesOf(child as object) : []),
  ])
}

// As JSON.parse does it: `__proto__` is a key as any other.
function put(parent: Node, name: string, value: unknown): void {
  Object.defineProperty(parent, name, { value, enumerable: true, configurable: true, writable: true })
}
