// Files of every form, with comments and blanks anywhere; the model says what a parser must find afterwards.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { editService, readService } from '../../../../agent/compose/edit/edit.ts'

const model = (some: string) =>
  parseYaml(some, { merge: true }) as { services: Record<string, Record<string, unknown>> }
const lines = (some: string) => some.split('\n')

const noise = fc.constantFrom('', '', '    # image: no\n', '\n', '  # less\n', '    \n')
const end = fc.constantFrom('', ' # it’s: "x', '  ', '\t# y')
const value = fc.constantFrom('a', '"b"', "'c'", '1', 'a:${X}', '"x\\ty"', 'http://x/#y')
const indented = (indent: string) =>
  fc
    .tuple(fc.subarray(['A', 'MESSAGE', '"B"']), value, end, noise)
    .map(
      ([keys, some, tail, after]) => keys.map((key) => `${indent}${key}: ${some}${tail}\n`).join('') + after,
    )
const env = fc.oneof(
  indented('      ').map((block) => (block.includes(':') ? `    environment:\n${block}` : '')),
  fc
    .tuple(
      fc.subarray(['A=1', 'MESSAGE=a', '"B=c"', "'MESSAGE=d'", 'MESSAGE'], { minLength: 1 }),
      fc.constantFrom('    ', '      '),
      end,
    )
    .map(
      ([entries, indent, tail]) =>
        `    environment:${tail}\n${entries.map((entry) => `${indent}- ${entry}${tail}\n`).join('')}`,
    ),
  fc
    .subarray(['A: 1', 'MESSAGE: "a"', "B: 'c'", 'C'], { minLength: 0 })
    .map((entries) => `    environment: {${entries.join(', ')}}\n`),
  fc
    .subarray(['A=1', '"MESSAGE=a"'], { minLength: 0 })
    .map((entries) => `    environment: [ ${entries.join(' , ')} ]\n`),
  fc.constant('    environment:\n'),
)
const imageLine = fc.oneof(
  fc.tuple(value, end).map(([some, tail]) => `    image: ${some}${tail}\n`),
  fc.constant('    image: |-\n      a\n'),
  fc.constant(''),
)
const rest = fc.constantFrom(
  '    init: true\n',
  '    command: >\n      x: y\n      # z\n\n',
  '    ports:\n    - "80:80"\n',
)
const body = fc
  .tuple(noise, rest, imageLine, env, noise, fc.boolean())
  .map(([a, b, c, d, e, flip]) => (flip ? a + d + c + e + b : a + b + c + e + d))
const file = fc
  .tuple(body, body, fc.constantFrom('\n', '\r\n'), fc.boolean())
  .map(([one, two, eol, isCut]) =>
    `name: x\nservices:\n  app1:\n${one}  app2: # two\n${two}`
      .replaceAll('\n', eol)
      .slice(0, isCut ? -eol.length : undefined),
  )
const text = fc
  .oneof(
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.constantFrom('b', 'app1,v2', 'no', '1.0'),
  )
  .filter((some) => some.isWellFormed())
const change = fc.record(
  {
    image: fc.constantFrom('b:2', 'r.io:5000/b@sha256:0a', '1'),
    env: fc.dictionary(fc.constantFrom('MESSAGE', 'A', 'B', 'NEW', 'no', '__proto__'), text, {
      maxKeys: 3,
    }),
  },
  { requiredKeys: [] },
)
const service = fc.constantFrom('app1', 'app2')
test('a parser finds exactly the change, whatever the file looks like', () => {
  fc.assert(
    fc.property(file, service, change, (before, name, wanted) => {
      const after = editService(before, name, wanted)
      const read = readService(after, name)
      const was = readService(before, name)
      const raw = Object.entries(wanted.env ?? {}).map(([key, to]) => [key, to.replaceAll('$', () => '$$')])
      expect(read?.image).toBe(wanted.image ?? was?.image)
      expect(read?.env).toEqual({ ...was?.env, ...Object.fromEntries(raw) })
      const strip = (some: string) => {
        const found = model(some)
        const { image: _, environment: __, ...others } = found.services[name] ?? {}
        return { ...found, services: { ...found.services, [name]: others } }
      }
      expect(strip(after)).toEqual(strip(before))
    }),
    { numRuns: 500 },
  )
})

test('only lines of that service’s image and env differ, all else stays in its order', () => {
  fc.assert(
    fc.property(file, service, change, (before, name, wanted) => {
      const kept = new Set(lines(editService(before, name, wanted)))
      const gone = lines(before).filter((line) => !kept.has(line))
      // The last line may get a line end; a block scalar's own lines go with it.
      const isOurs = /image|environment|MESSAGE|A|B|^ +a\r?$/
      expect(gone.filter((line) => !isOurs.test(line) && !kept.has(`${line}\r`))).toEqual([])
    }),
    { numRuns: 300 },
  )
})

test('an edit again is no edit, and one with nothing to do is none', () => {
  fc.assert(
    fc.property(file, service, change, (before, name, wanted) => {
      const after = editService(before, name, wanted)
      expect(editService(after, name, wanted)).toBe(after)
      expect(editService(before, name, {})).toBe(before)
    }),
    { numRuns: 300 },
  )
})

test('variables that were set and go back to what they were, or away, mean what they meant, whatever the file looks like', () => {
  fc.assert(
    fc.property(file, service, change, (before, name, { env: wanted = {} }) => {
      const was = readService(before, name)?.env ?? {}
      // A value is written as it is: what compose would fill in, and a variable without a value, cannot be put back.
      const known = Object.keys(wanted).filter(
        (key) => !Object.hasOwn(was, key) || (was[key] !== null && !was[key]?.includes('$')),
      )
      const pick = (from: Readonly<Record<string, string | null>>) =>
        Object.fromEntries(
          known.map((key) => [key, Object.hasOwn(from, key) ? (from[key] ?? null) : null] as const),
        )
      const there = editService(before, name, { env: pick(wanted) })
      const back = editService(there, name, { env: pick(was) })
      expect(readService(back, name)?.env).toEqual(was)
      expect(readService(back, name)?.image).toEqual(readService(before, name)?.image)
    }),
    { numRuns: 500 },
  )
})

test('a change and the way back leave every byte of a plain file', () => {
  const plain = fc
    .string({ unit: fc.constantFrom(...'abc,.-/'), minLength: 1 })
    .filter((some) => /^[a-c].*[a-c]$/.test(some))
  fc.assert(
    fc.property(plain, text, (was, to) => {
      const quoted = `services:\n  app1:\n    environment:\n      - 'MESSAGE=${was}' # x\n    image: "a"`
      const there = editService(quoted, 'app1', {
        image: 'b',
        env: { MESSAGE: to.replaceAll(/[^\P{Cc}]|[\u2028\u2029\ufeff\ufffe\uffff]/gu, '') },
      })
      expect(editService(there, 'app1', { image: 'a', env: { MESSAGE: was } })).toBe(quoted)
    }),
  )
})
