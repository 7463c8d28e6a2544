import { describe, expect, test } from 'vitest'
import { editService } from '../../../../agent/compose/edit/edit.ts'
import { image, message, problem, seed } from './files.ts'

describe('edits that would reach others, or not be what compose reads', () => {
  test.each([
    [
      'a shared image',
      'services:\n  app1:\n    image: &i a\n  app2:\n    image: *i\n',
      image('b'),
      'its image (line 3) is shared',
    ],
    [
      'a shared environment',
      'services:\n  app1:\n    init: true\n    environment: &e\n      MESSAGE: a\n  app2:\n    environment: *e\n',
      message('b'),
      'its environment (line 4) is shared',
    ],
    [
      'a shared variable',
      'services:\n  app1:\n    environment:\n      MESSAGE: &m a\n  app2:\n    environment:\n      X: *m\n',
      message('b'),
      '(line 3) is shared',
    ],
    [
      'an aliased list',
      'x-e: &e [A=x]\nservices:\n  app1:\n    environment: *e\n',
      message('b'),
      'its environment (line 4) is an alias of a list',
    ],
    [
      'a merged environment',
      'x-a: &a\n  environment: {A: x}\nservices:\n  app1:\n    <<: *a\n',
      message('b'),
      'its environment (line 2) comes from a merge',
    ],
    [
      'an image that is a list',
      'services:\n  app1:\n    image: [a]\n',
      image('b'),
      'its image (line 3) is not a text',
    ],
    [
      'an environment that is a text',
      'services:\n  app1:\n    environment: a\n',
      message('b'),
      'its environment (line 3) is neither',
    ],
    [
      'a variable that is a map',
      'services:\n  app1:\n    environment:\n      MESSAGE: {a: b}\n',
      message('b'),
      'its variable MESSAGE (line 4) is not a text',
    ],
    [
      'a reset image',
      'services:\n  app1:\n    image: !reset a\n',
      image('b'),
      'its image (line 3) has the tag !reset',
    ],
    [
      'a reset image without a text',
      'services:\n  app1:\n    image: !reset\n',
      image('b'),
      'its image (line 3) has the tag !reset',
    ],
    [
      'a reset variable in a list',
      'services:\n  app1:\n    environment: [!reset MESSAGE=a]\n',
      message('b'),
      'its environment (line 3) has the tag !reset',
    ],
    [
      'an environment that is reset to a text',
      'services:\n  app1:\n    environment: !reset a\n',
      message('b'),
      'its environment (line 3) is neither',
    ],
    [
      'an environment with the tag of nothing',
      'services:\n  app1:\n    environment: !!null ~\n',
      message('b'),
      'its environment (line 3) is neither',
    ],
    [
      'the same without a text',
      'services:\n  app1:\n    environment: !!null\n',
      message('b'),
      'its environment (line 3) is neither',
    ],
    [
      'an environment that is an empty text',
      'services:\n  app1:\n    environment: !!str\n',
      message('b'),
      'its environment (line 3) is neither',
    ],
    [
      'a reset environment',
      'services:\n  app1:\n    environment: !reset {A: x}\n',
      message('b'),
      'its environment (line 3) is reset',
    ],
    ['a service without a block', 'services:\n  app1:\n', image('b'), 'service app1 (line 2) has no block'],
    ['a service that is reset', 'services:\n  app1: !reset {image: a}\n', image('b'), 'has no block'],
    ['a merged service', 'x-s: &s\n  app1: {image: a}\nservices:\n  <<: *s\n', image('b'), 'has no block'],
    [
      'a variable that another of the service repeats',
      'services:\n  app1:\n    image: &i a\n    environment: {MESSAGE: &m a, B: *m}\n',
      { image: 'b', env: { MESSAGE: 'b' } },
      'its environment (line 4) is in a form',
    ],
    [
      'a variable that a label of the service repeats',
      'services:\n  app1:\n    environment: {MESSAGE: &m a}\n    labels: {x: *m}\n',
      message('b'),
      'its environment (line 3) is in a form',
    ],
    [
      'an explicit key without a value',
      'services:\n  app1:\n    ? image\n',
      image('b'),
      'its image (line 3) is in a form that cannot be edited',
    ],
    [
      'the same beside a variable that is right',
      'services:\n  app1:\n    environment: {MESSAGE: a}\n    ? image\n',
      { image: 'b', env: { MESSAGE: 'b' } },
      'its image (line 4) is in a form that cannot be edited',
    ],
    [
      'a shared image beside an environment of its own',
      'services:\n  app1:\n    environment: {MESSAGE: a}\n    image: &i a\n  app2: {image: *i}\n',
      { image: 'b', env: { MESSAGE: 'b' } },
      'its image (line 4) is shared',
    ],
    [
      'a shared environment beside an image of its own',
      'services:\n  app1:\n    image: a\n    environment: &e {MESSAGE: a}\n  app2: {environment: *e}\n',
      { image: 'b', env: { MESSAGE: 'b' } },
      'its environment (line 4) is shared',
    ],
    [
      'services that are something else, too',
      'services: &s\n  app1:\n    image: a\nvolumes: *s\n',
      image('b'),
      'its image (line 3) is shared',
    ],
  ])('%s is refused', (_, text, change, words) => {
    expect(() => editService(text, 'app1', change)).toThrow(problem('compose-not-editable', words))
  })
})

test.each([
  ['app1: {image: [a]}', image('b'), 'write the image of app1 out in its own block'],
  ['app1: {environment: a}', message('b'), 'write the environment of app1 out in its own block'],
  ['app1: {environment: {MESSAGE: {}}}', message('b'), 'write the environment of app1 out in its own block'],
  ['app1:', image('b'), 'write app1 out as a block'],
])('%s is refused with its cure', (service, change, cure) => {
  expect(() => editService(`services:\n  ${service}\n`, 'app1', change)).toThrow(
    expect.objectContaining({ code: 'compose-not-editable', cure }),
  )
})

test('what is said already is refused nowhere', () => {
  const text =
    'services:\n  app1:\n    image: &i a\n    environment: !reset {MESSAGE: a}\n  app2: {image: *i}\n'
  expect(editService(text, 'app1', { image: 'a', env: { MESSAGE: 'a' } })).toBe(text)
})

/** 100 to the power of four, if it were written out. */
const grown = [1, 2, 3, 4].reduce(
  (text, level) => `${text}x-${level}: &x${level} [${`*x${level - 1}, `.repeat(100)}]\n`,
  'services: {app1: {image: a}}\nx-0: &x0 a\n',
)

describe('files that cannot be edited', () => {
  test.each([
    ['', 'service-unknown', ''],
    ['# nothing\n', 'service-unknown', ''],
    ['services:\n', 'service-unknown', 'app1'],
    ['services:\n  app2: {}\n', 'service-unknown', 'app1'],
    ['volumes: {}\n', 'service-unknown', 'app1'],
    ['services:\n  app1: {image: [}\n', 'compose-invalid', 'line 2'],
    ['services:\n  app1:\n    image: a\n    image: b\n', 'compose-invalid', 'line 4'],
    ['services:\n\tapp1: {}\n', 'compose-invalid', 'line 2'],
    ['services:\n  app1: {image: *i}\n', 'compose-invalid', 'i'],
    ['services:\n  app1: {image: a}\n---\nservices: {}\n', 'compose-invalid', 'line 3'],
    ['services:\n  app1: {image: [}\n---\nservices: {}\n', 'compose-invalid', 'line 2'],
    [grown, 'compose-invalid', 'Excessive alias count'],
  ])('%j is %s', (text, code, words) => {
    expect(() => editService(text, 'app1', image('b'))).toThrow(problem(code, words))
  })

  test('half a character is no value', () => {
    expect(() => editService(seed, 'app1', message('\ud800'))).toThrow(
      problem('request-invalid', 'half a Unicode character'),
    )
  })

  test('many services may share a block', () => {
    const text = `x-a: &a {init: true}\nservices:\n${Array.from({ length: 200 }, (_, n) => `  app${n}: {<<: *a, image: a}\n`).join('')}`
    expect(editService(text, 'app1', image('b'))).toBe(
      text.replace('app1: {<<: *a, image: a}', 'app1: {<<: *a, image: b}'),
    )
  })
})
