import { describe, expect, test } from 'vitest'
import { changedTexts, composeTextsWith, imageVariables } from '../../../../agent/compose/edit/texts.ts'
import { problem } from './files.ts'

const inFile = (service: string) => `services:\n  app1:${service}\n`
const update = (files: readonly string[], env: Record<string, string>, image?: string) => {
  const before = Object.fromEntries(files.map((service, index) => [`${index}.yml`, inFile(service)]))
  return Object.values(composeTextsWith(before, ['app1'], () => ({ image, env })))
}

describe('each goes to the file that decides', () => {
  test.each([
    ['one file', [' {}'], { A: '1', B: 'b' }, [` {environment: {A: '1', B: b}, image: b}`]],
    [
      'the last that says it',
      [' {image: a, environment: {A: a, B: a}}', ' {image: a, environment: [B=a]}', ' {init: true}'],
      { A: 'x', B: 'y' },
      [' {image: a, environment: {A: x, B: a}}', ' {image: b, environment: [B=y]}', ' {init: true}'],
    ],
    [
      'else the last with an environment',
      [' {environment: [A=a]}', ' {environment: [A=a]}', ' {image: a}'],
      { A: 'x', B: 'y', constructor: 'z' },
      [' {environment: [A=a]}', ' {environment: [A=x, B=y, constructor=z]}', ' {image: b}'],
    ],
    [
      'else the first with the service',
      ['\n    init: true', ' {init: true}'],
      { A: 'x', B: 'z' },
      ['\n    init: true\n    environment:\n      A: x\n      B: z\n    image: b', ' {init: true}'],
    ],
    [
      'none before an environment that replaces theirs',
      [' {image: a, environment: [A=a]}', ' {environment: !override {B: b}}', ' {init: true}'],
      { A: 'x' },
      [' {image: b, environment: [A=a]}', ' {environment: !override {B: b, A: x}}', ' {init: true}'],
    ],
    [
      'none before a service that replaces theirs',
      [' {image: a, environment: [A=a]}', ' !override {init: true}', ' {read_only: true}'],
      { A: 'x' },
      [
        ' {image: a, environment: [A=a]}',
        ' !override {init: true, environment: {A: x}, image: b}',
        ' {read_only: true}',
      ],
    ],
    ['past one that cannot be edited', [' {image: a}', ''], {}, [' {image: b}', '']],
  ])('%s', (_, before, env, after) => {
    expect(update(before, env, 'b')).toEqual(after.map(inFile))
  })
})

test('a variable goes only from files that have it: another may be one that cannot be edited', () => {
  const files = { a: inFile(' {environment: [A=a, B=b]}'), b: inFile('') }
  expect(composeTextsWith(files, ['app1'], () => ({ env: { A: null } }))).toEqual({
    ...files,
    a: inFile(' {environment: [B=b]}'),
  })
})

const textsOf = (...messages: string[]) => ({
  f: `services:\n${messages.map((message, index) => `  app${index}: {environment: [M=${message}]}\n`).join('')}`,
})

const wantedVersion = (service: string) => ({ env: { M: service } })

test('every service gets what is wanted of it, and those that are not updated stay', () => {
  expect(composeTextsWith(textsOf('a', 'a', 'a'), ['app0', 'app2'], wantedVersion)).toEqual(
    textsOf('app0', 'a', 'app2'),
  )
})

test('a service that no file defines is refused where there is something to write', () => {
  expect(() => composeTextsWith({ f: '', g: inFile('') }, ['app2'], () => ({ image: 'b' }))).toThrow(
    problem('service-unknown', 'f, g'),
  )
  expect(composeTextsWith({ f: '' }, ['app2'], () => ({}))).toEqual({ f: '' })
})

const MERGED = 'x-a: &a # ours\n  image: a\nservices:\n  app0: { <<: *a }\n  app1:\n    <<: *a\n'
const ALIASED = 'x-i: &i "a" # ours\nservices:\n  app0:\n    image: *i\n  app1: { image: *i }\n'
const ANCHORED = 'services:\n  app0: &a # ours\n    image: a\n  app1: { <<: *a }\n'
test.each<[string, string, string[], string[]]>([
  ['merged, by some', MERGED, ['app1'], ['    <<: *a\n', '    <<: *a\n    image: b\n']],
  ['merged, by all', MERGED, ['app1', 'app0'], ['image: a\n', 'image: b\n']],
  [
    'merged, by all but one that is not rolled',
    `${MERGED}  web: *a\n`,
    ['app1'],
    ['    <<: *a\n', '    <<: *a\n    image: b\n'],
  ],
  ['aliased, by some', ALIASED, ['app0'], ['    image: *i\n', '    image: b\n']],
  ['aliased, by all', ALIASED, ['app0', 'app1'], ['"a"', '"b"']],
  ['of another service, by all', ANCHORED, ['app1', 'app0'], ['image: a', 'image: b']],
  [
    'that is also used elsewhere',
    `${ALIASED}    labels: [*i]\n`.replace('{ image: *i }', '\n    image: *i'),
    ['app0', 'app1'],
    ['image: *i', 'image: b'],
  ],
])('an image from one place, %s', (_, text, updated, [from = '', to = '']) => {
  const other = 'services: {db: {image: db}}\n'
  const after = text.replaceAll(from, to)
  expect(composeTextsWith({ f: text }, updated, () => ({ image: 'b' }))).toEqual({ f: after })
  expect(composeTextsWith({ f: text, g: other }, updated, () => ({ image: 'b' }))).toEqual({
    f: after,
    g: other,
  })
})

test('an image from one place is not changed there where two are wanted of it', () => {
  const { f } = composeTextsWith({ f: MERGED }, ['app0', 'app1'], (service) => ({ image: service }))
  expect(f).toContain('  image: a\n')
})

test('a service of an included file is refused with the file that includes it, and a way that works', () => {
  const files = { f: inFile(''), g: 'include: [apps.yml]\nservices: {}\n' }
  const edit = (more: Record<string, string>) =>
    composeTextsWith({ ...files, ...more }, ['app2'], () => ({ image: 'b' }))
  expect(() => edit({})).toThrow(problem('compose-not-editable', 'that g includes'))
  expect(() => edit({})).toThrow(
    expect.objectContaining({
      cure: expect.stringContaining('`services: { app2: { image: … } }`') as string,
    }),
  )
  const override = { h: 'services: { app2: { image: a } }\n' }
  expect(edit(override)).toEqual({ ...files, h: override.h.replace(' a ', ' b ') })
})

const said = (image: string) => `services: { app1: { image: '${image}' } }\n`
test.each([
  ['a:v1', []],
  ['${REG:-ghcr.io}/a:${TAG:?no tag}', ['REG', 'TAG']],
  ['a:$TAG', ['TAG']],
  ['a:$$TAG', []],
])('the variables of image %s', (image, names) => {
  const files = { e: said('${OLDER}'), f: said('${OLD}'), g: said(image), h: '' }
  expect(imageVariables(files, 'app1')).toEqual(names)
})

test('changedTexts are those that differ', () => {
  expect(changedTexts({ a: '1', b: '2' }, { a: '1', b: '3' })).toEqual({ b: '3' })
})
