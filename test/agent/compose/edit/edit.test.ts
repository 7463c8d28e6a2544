import { describe, expect, test } from 'vitest'
import { editService, readService } from '../../../../agent/compose/edit/edit.ts'
import { edit, image, message, seed } from './files.ts'

const changed = (line: number, text: string, before = seed) =>
  before
    .split('\n')
    .with(line - 1, text)
    .join('\n')
const inFlow = (service: string) => `services: {app1: ${service}, app2: {image: x}}\n`

describe('the seed', () => {
  const afterStep2 = changed(21, `      - 'MESSAGE=app2,v2'`)

  test('step 2 changes one line of app2', () => {
    expect(editService(seed, 'app2', message('app2,v2'))).toBe(afterStep2)
  })
  test('step 3 changes one line of app1', () => {
    const afterStep3 = changed(15, `      - 'MESSAGE=app1,v2'`, afterStep2)
    expect(editService(afterStep2, 'app1', message('app1,v2'))).toBe(afterStep3)
  })
  test('setting what is there changes nothing', () => {
    expect(
      editService(seed, 'app1', { image: 'bithavoc/hello-world-env', env: { MESSAGE: 'app1,v1' } }),
    ).toBe(seed)
  })
  test('and back again is the original', () => {
    expect(editService(afterStep2, 'app2', message('app2,v1'))).toBe(seed)
  })
  test('is read', () => {
    expect(readService(seed, 'app1')).toEqual({
      image: 'bithavoc/hello-world-env',
      env: { MESSAGE: 'app1,v1' },
      hasImage: true,
      hasEnvironment: true,
    })
  })
})

describe('image', () => {
  test.each([
    ['plain', '    image: a:1 # x', 'b:2', '    image: b:2 # x'],
    [
      'a port and a digest',
      '    image: a',
      '127.0.0.1:5000/b:2@sha256:0a',
      '    image: 127.0.0.1:5000/b:2@sha256:0a',
    ],
    ['double', '    image: "a"', 'b', '    image: "b"'],
    ['single', `    image: 'a'`, 'b', `    image: 'b'`],
    ['spaces and tabs', '    image :  a \t ', 'b', '    image :  b \t '],
    ['not plain', '    image: a', '1.0', `    image: '1.0'`],
    ['a variable', '    image: a:${TAG:-1}', 'b', '    image: b'],
    ['braces', '    image: a', 'b{}', '    image: b{}'],
    ['braces in flow', '    {image: a}', 'b{}', `    {image: 'b{}'}`],
    ['an anchor that nobody uses', '    image: &img a', 'b', '    image: &img b'],
    ['a tag', '    image: !!str a', 'b', '    image: !!str b'],
    ['empty', '    image:\n    init: true', 'b', '    image: b\n    init: true'],
    ['empty with a comment', '    image: # x', 'b', '    image: b # x'],
    ['null', '    image: ~', 'b', '    image: b'],
    ['literal', '    image: | # x\n      a\n    init: true', 'b', '    image: b # x\n    init: true'],
    ['folded', '    image: >-\n      a\n\n    init: true', 'b', '    image: b\n\n    init: true'],
    ['on the next line', '    image:\n      a', 'b', '    image:\n      b'],
    ['over two lines', '    image: "a\\\n      b"', 'c', '    image: "c"'],
    ['a quoted key', '    "image": a', 'b', '    "image": b'],
    ['missing', '    init: true # x', 'b', '    init: true # x\n    image: b'],
    ['missing, lines after', '    init: true\n    # x\n', 'b', '    init: true\n    image: b\n    # x\n'],
    ['missing, four spaces', '      init: true', 'b', '      init: true\n      image: b'],
    [
      'missing, after a nested list',
      '    ports:\n    - "80:80"\n',
      'b',
      '    ports:\n    - "80:80"\n    image: b\n',
    ],
    [
      'missing, between a nested block and a comment',
      '    build:\n      context: .\n\n    # x\n',
      'b',
      '    build:\n      context: .\n    image: b\n\n    # x\n',
    ],
    [
      'missing, between a nested key alone and a comment',
      '    build:\n      context:\n      # x\n',
      'b',
      '    build:\n      context:\n    image: b\n      # x\n',
    ],
    [
      'missing, between a nested list and a comment',
      '    ports:\n      - "80:80"\n      # x\n',
      'b',
      '    ports:\n      - "80:80"\n    image: b\n      # x\n',
    ],
    [
      'missing, after a literal',
      '    command: |\n      x\n\n',
      'b',
      '    command: |\n      x\n    image: b\n\n',
    ],
    ['missing, after an empty key', '    init:', 'b', '    init:\n    image: b'],
    ['missing, quoted keys', '    "init": true', 'b', '    "init": true\n    "image": "b"'],
    ['extended', '    extends: { file: x }', 'b', '    extends: { file: x }\n    image: b'],
  ])('%s', (_, before, to, after) => {
    expect(edit(before, image(to))).toBe(after)
  })

  test.each([
    ['in flow', '{image: a, init: true}', '{image: b, init: true}'],
    ['in flow, spaces', '{ image: "a" }', '{ image: "b" }'],
    ['missing in flow', '{init: true}', '{init: true, image: b}'],
    ['missing in JSON', '{"init": true}', '{"init": true, "image": "b"}'],
    ['missing in an empty block', '{}', '{image: b}'],
    ['empty in flow', '{image: , init: true}', '{image: b , init: true}'],
    ['a key alone in flow', '{image, init: true}', '{image: b, init: true}'],
    ['after a key alone in flow', '{init, }', '{init, image: b, }'],
    ['after an empty value in flow', '{init: }', '{init: , image: b }'],
    ['over lines in flow', '{\n    init: true, # x\n    }', '{\n    init: true, image: b, # x\n    }'],
  ])('%s', (_, before, after) => {
    expect(editService(inFlow(before), 'app1', image('b'))).toBe(inFlow(after))
  })
})

describe('env', () => {
  test.each([
    // Maps.
    ['plain', '    environment:\n      MESSAGE: a', 'b', '    environment:\n      MESSAGE: b'],
    ['double', '    environment:\n      MESSAGE: "a" # x', 'b', '    environment:\n      MESSAGE: "b" # x'],
    ['single', `    environment:\n      MESSAGE: 'a'`, "it's", `    environment:\n      MESSAGE: 'it''s'`],
    ['a number', '    environment:\n      MESSAGE: 1', '1', `    environment:\n      MESSAGE: '1'`],
    ['nothing', '    environment:\n      MESSAGE:', 'b', '    environment:\n      MESSAGE: b'],
    [
      'nothing with an anchor',
      '    environment:\n      MESSAGE: &m',
      'b',
      '    environment:\n      MESSAGE: &m b',
    ],
    [
      'a dollar',
      '    environment:\n      MESSAGE: a',
      '$x $$ ${y}',
      '    environment:\n      MESSAGE: $$x $$$$ $${y}',
    ],
    [
      'missing',
      '    environment:\n      A: x # y',
      'b',
      '    environment:\n      A: x # y\n      MESSAGE: b',
    ],
    [
      'missing, quoted',
      `    environment:\n      "A": 'x'`,
      'b',
      `    environment:\n      "A": 'x'\n      "MESSAGE": 'b'`,
    ],
    [
      'missing, deep',
      '    environment:\n         A: x\n    init: true',
      'b',
      '    environment:\n         A: x\n         MESSAGE: b\n    init: true',
    ],
    [
      'missing, after nothing',
      '    environment:\n      A:',
      'b',
      '    environment:\n      A:\n      MESSAGE: b',
    ],
    ['missing, in flow', '    environment: {A: x}', 'a, b', `    environment: {A: x, MESSAGE: 'a, b'}`],
    ['missing, in empty flow', '    environment: {}', 'b', '    environment: {MESSAGE: b}'],
    ['in flow', '    environment: { MESSAGE: a, B: c }', 'b', '    environment: { MESSAGE: b, B: c }'],
    [
      'over a merge',
      '    environment: {<<: {MESSAGE: a, B: c}}',
      'b',
      '    environment: {<<: {MESSAGE: a, B: c}, MESSAGE: b}',
    ],
    // Lists.
    ['a list', '    environment:\n      - MESSAGE=a', 'b', '    environment:\n      - MESSAGE=b'],
    [
      'a list, double',
      '    environment:\n    -  "MESSAGE=a" # x',
      'b',
      '    environment:\n    -  "MESSAGE=b" # x',
    ],
    [
      'a list, bare',
      '    environment:\n      - MESSAGE\n      - B=c',
      'b',
      '    environment:\n      - MESSAGE=b\n      - B=c',
    ],
    [
      'a list, with an equals sign',
      '    environment:\n      - MESSAGE=a=b',
      'c=d',
      '    environment:\n      - MESSAGE=c=d',
    ],
    [
      'a list, a colon',
      '    environment:\n      - MESSAGE=a',
      'b: c',
      `    environment:\n      - 'MESSAGE=b: c'`,
    ],
    [
      'a list, twice',
      '    environment:\n      - MESSAGE=a\n      - MESSAGE=c',
      'b',
      '    environment:\n      - MESSAGE=a\n      - MESSAGE=b',
    ],
    [
      'a list, a longer name',
      '    environment:\n      - MESSAGES=a',
      'b',
      '    environment:\n      - MESSAGES=a\n      - MESSAGE=b',
    ],
    [
      'a list, missing',
      `    environment:\n    -   'A=x'\n    init: true`,
      'b',
      `    environment:\n    -   'A=x'\n    -   'MESSAGE=b'\n    init: true`,
    ],
    [
      'a list, missing, after entries with other gaps and a comment',
      '    environment:\n      - A=x\n    # y\n      -   B=z',
      'b',
      '    environment:\n      - A=x\n    # y\n      -   B=z\n      -   MESSAGE=b',
    ],
    [
      'a list, missing, after an entry with an anchor and a tag',
      '    environment:\n      -   &a  !!str A=x',
      'b',
      '    environment:\n      -   &a  !!str A=x\n      -   MESSAGE=b',
    ],
    [
      'a list, missing, after an entry below its dash',
      '    environment:\n      -\n        A=x',
      'b',
      '    environment:\n      -\n        A=x\n      - MESSAGE=b',
    ],
    ['a list in flow', '    environment: [MESSAGE=a, "B=c"]', 'b', '    environment: [MESSAGE=b, "B=c"]'],
    [
      'a list in flow, missing',
      '    environment: [A=x, "B=c", ]',
      'b',
      '    environment: [A=x, "B=c", "MESSAGE=b", ]',
    ],
    ['an empty list', '    environment: []', 'b', '    environment: [MESSAGE=b]'],
    // No environment.
    ['none', '    image: a', 'b', '    image: a\n    environment:\n      MESSAGE: b'],
    ['none, four spaces', '      image: a', 'b', '      image: a\n      environment:\n          MESSAGE: b'],
    [
      'empty',
      '    environment: # x\n    init: true',
      'b',
      '    environment: # x\n      MESSAGE: b\n    init: true',
    ],
    ['empty, a comma', '    environment:', 'a, b', '    environment:\n      MESSAGE: a, b'],
    ['null', '    environment: ~', 'a, b', `    environment: {MESSAGE: 'a, b'}`],
    [
      'missing, after a value in quotes and an empty one',
      `    environment:\n      A: 'x'\n      B:`,
      'b',
      `    environment:\n      A: 'x'\n      B:\n      MESSAGE: 'b'`,
    ],
  ])('%s', (_, before, to, after) => {
    expect(edit(before, message(to))).toBe(after)
  })

  test('a key alone in flow', () => {
    const edited = editService(inFlow('{image: a, environment}'), 'app1', message('a, b'))
    expect(edited).toBe(inFlow(`{image: a, environment: {MESSAGE: 'a, b'}}`))
  })

  test('several at once, with the image, in both places', () => {
    const before = '    environment:\n      A: 1'
    const after = `    environment:\n      A: '2'\n      B: x\n      C: z\n    image: b`
    expect(edit(before, { image: 'b', env: { B: 'x', A: '2', C: 'z' } })).toBe(after)
    expect(edit('    init: true', { image: 'b', env: { A: 'x' } })).toBe(
      '    init: true\n    environment:\n      A: x\n    image: b',
    )
    expect(edit('    {init: true}', { image: 'b', env: { A: 'x' } })).toBe(
      '    {init: true, environment: {A: x}, image: b}',
    )
  })
})

describe('bytes', () => {
  const forms = [
    '    environment:\n      - A=x\n',
    '    environment:\n      A: |\n        x\n',
    '    image: a',
    '    image: a # x\n\n',
  ]

  test.each(forms)('CRLF stays CRLF in %j', (form) => {
    const unix = `services:\n  app1:\n${form}`
    const change = { image: 'b', env: { A: 'y', B: 'z' } }
    const dos = editService(unix.replaceAll('\n', '\r\n'), 'app1', change)
    expect(dos).toBe(editService(unix, 'app1', change).replaceAll('\n', '\r\n'))
  })

  test('a byte order mark, document marks, and a missing final newline stay', () => {
    const text = '\ufeff---\nservices:\n  app1:\n    image: a'
    expect(editService(text, 'app1', image('b'))).toBe('\ufeff---\nservices:\n  app1:\n    image: b')
    expect(editService(text, 'app1', message('b'))).toBe(`${text}\n    environment:\n      MESSAGE: b`)
    expect(editService('services:\n  app1:\n    image: a\n...\n', 'app1', message('b'))).toBe(
      'services:\n  app1:\n    image: a\n    environment:\n      MESSAGE: b\n...\n',
    )
  })

  test('a tab after a dash and before a comment stays', () => {
    expect(edit('    environment:\n      -\tMESSAGE=a\t# x', { env: { MESSAGE: 'b', C: 'd' } })).toBe(
      '    environment:\n      -\tMESSAGE=b\t# x\n      -\tC=d',
    )
  })
})

describe('readService', () => {
  test.each([
    ['services: {app1: {}}', { image: undefined, env: {}, hasImage: false, hasEnvironment: false }],
    [
      'services: {app1: {image: , environment: }}',
      { image: undefined, env: {}, hasImage: false, hasEnvironment: false },
    ],
    [
      'services: {app1: {environment: !reset {A: 1}}}',
      { image: undefined, env: { A: '1' }, hasImage: false, hasEnvironment: true, replaces: 'environment' },
    ],
    ['services: {app1: }', { image: undefined, env: {}, hasImage: false, hasEnvironment: false }],
    [
      'services: {app1: {image: 1, environment: {A: 1, B: , C: true}}}',
      { image: '1', env: { A: '1', B: null, C: 'true' }, hasImage: true, hasEnvironment: true },
    ],
    [
      'services: {app1: {environment: [A, B=, C==, D=1, D=2]}}',
      { image: undefined, env: { A: null, B: '', C: '=', D: '2' }, hasImage: false, hasEnvironment: true },
    ],
    [
      'services: {app1: {environment: [A=1, null, {B: 2}]}}',
      { image: undefined, env: { A: '1' }, hasImage: false, hasEnvironment: true },
    ],
    [
      'x: &x {image: a, environment: {A: b}}\nservices: {app1: {<<: *x}}',
      { image: 'a', env: { A: 'b' }, hasImage: true, hasEnvironment: true },
    ],
    [
      'services: {app1: {image: "a:${TAG}", environment: [A=$$]}}',
      { image: 'a:${TAG}', env: { A: '$$' }, hasImage: true, hasEnvironment: true },
    ],
    [
      'services: {app1: {environment: !override [A=1]}}',
      { image: undefined, env: { A: '1' }, hasImage: false, hasEnvironment: true, replaces: 'environment' },
    ],
    [
      'services: {app1: !override {environment: !reset {}}}',
      { image: undefined, env: {}, hasImage: false, hasEnvironment: true, replaces: 'service' },
    ],
    ['services: {app2: {}}', undefined],
    ['services: {constructor: {}}', undefined],
    ['networks: {}', undefined],
    ['', undefined],
  ])('%s', (text, wanted) => {
    expect(readService(text, 'app1')).toEqual(wanted)
  })
})
