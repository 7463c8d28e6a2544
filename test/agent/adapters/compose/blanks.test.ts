// Variables that are not set, and where compose has put blanks for them.

import { expect, test } from 'vitest'
import { valuesFor, withBlanks } from '../../../../agent/adapters/compose/blanks.ts'
import type { ComposeModel } from '../../../../agent/ports.ts'

const warning = (name: string) =>
  `time="2026-11-27T15:41:07Z" level=warning msg="The \\"${name}\\" variable is not set. Defaulting to a blank string."\n`

test('each variable that compose names gets a value of its own', () => {
  const values = valuesFor(`${warning('A')}${warning('B_2')}other\n${warning('A')}`)
  expect(Object.keys(values)).toEqual(['A', 'B_2'])
  expect(new Set(Object.values(values)).size).toBe(2)
  expect(valuesFor('')).toEqual({})
})

const VALUES = { A: '40001', B: '40002' }

function modelOf(services: Record<string, Record<string, unknown>>, rest: unknown = {}): ComposeModel {
  const entries = Object.entries(services).map(([name, definition]) => [
    name,
    { env: definition['environment'] ?? {}, definition },
  ])
  return { project: 'hello', services: Object.fromEntries(entries), rest } as ComposeModel
}

test.each<[string, Record<string, unknown>, Record<string, unknown>, object[]]>([
  ['nowhere', { image: 'a' }, { image: 'a' }, []],
  [
    'in its environment',
    { environment: { X: '' } },
    { environment: { X: '40001' } },
    [{ variable: 'A', env: 'X' }],
  ],
  [
    'in the middle of a text, beside another',
    { environment: { X: 'u:@db', Y: 'y' } },
    { environment: { X: 'u:40001@db40002', Y: 'y' } },
    [
      { variable: 'A', env: 'X' },
      { variable: 'B', env: 'X' },
    ],
  ],
  ['elsewhere', { image: 'a:' }, { image: 'a:40002' }, [{ variable: 'B', env: undefined }]],
])('a variable that is used %s', (_, blank, valued, blanks) => {
  const model = modelOf({ app: blank, other: { image: 'b' } })
  const seen = withBlanks(model, modelOf({ app: valued, other: { image: 'b' } }), VALUES)
  expect(seen.services['app']?.blanks).toEqual(blanks)
  expect(seen.services['other']?.blanks).toEqual([])
})

test.each([
  ['outside the services', modelOf({ app: {} }, { volumes: { data: { name: '40001' } } })],
  ['where no value that fits is known', undefined],
])('a variable that is used %s may be in each service', (_, valued) => {
  expect(withBlanks(modelOf({ app: {} }), valued, { A: '40001' }).services['app']?.blanks).toEqual([
    { variable: 'A', env: undefined },
  ])
})
