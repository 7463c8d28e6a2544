import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { editService, lineOf, readService, type ServiceChange } from '../../../agent/compose/edit.ts'

const seed = readFileSync(new URL('../fixtures/docker-compose.yml', import.meta.url), 'utf8')
const image = (to: string): ServiceChange => ({ image: to })
const message = (to: string): ServiceChange => ({ env: { MESSAGE: to } })
const problem = (code: string, words = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(words) as string })

// A service of a file whose other services and comments must not move.
const inFile = (body: string) =>
  `# stack\nservices:\n  db:\n    image: db # a\n  app1:\n${body}\n  # end\n  web: { image: web }\n`
const edit = (body: string, change: ServiceChange) => {
  const edited = editService(inFile(body), 'app1', change)
  const [head = '', tail = ''] = inFile('\0').split('\0')
  expect(edited.startsWith(head) && edited.endsWith(tail)).toBe(true)
  return edited.slice(head.length, edited.length - tail.length)
}

const changed = (line: number, text: string, before = seed) =>
  before
    .split('\n')
    .with(line - 1, text)
    .join('\n')
const inFlow = (service: string) => `services: {app1: ${service}, app2: {image: x}}\n`
const model = (some: string) =>
  parseYaml(some, { merge: true }) as { services: Record<string, Record<string, unknown>> }
const lines = (some: string) => some.split('\n')

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
    ['null', '    environment: ~', 'b', '    environment: {MESSAGE: b}'],
  ])('%s', (_, before, to, after) => {
    expect(edit(before, message(to))).toBe(after)
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

  test.each([
    'yes',
    'No',
    'on',
    'y',
    'true',
    'null',
    '~',
    '',
    ' ',
    ' x',
    'x ',
    '1',
    '1.0',
    '1e3',
    '0x1F',
    '0o7',
    '1_000',
    '1:30',
    '.5',
    '.inf',
    '-',
    '- x',
    '-x',
    '?',
    '? x',
    ':',
    'a: b',
    'a:',
    'a #b',
    '# x',
    '#',
    '&a',
    '*a',
    '!a',
    '|',
    '>',
    '%a',
    '@a',
    '`a`',
    '"',
    "'",
    `'"`,
    '{a}',
    '[a]',
    'a, b',
    'a]',
    'a?b',
    '2001-12-14',
    '2001-12-14 21:59:43',
    '<<',
    '=',
    '---',
    '...',
    'a\\b',
    'é',
    '무중단',
    '🚠',
    '\u00a0',
    '\u2028',
    '\ufeff',
    'a\nb',
    'a\r\n',
    '\t',
    'a\tb',
    '\u0007',
    '\u0085',
    '$',
    '$$',
    '$&',
    "$'",
    '${a}',
  ])('%j is that string again, in every form', (value) => {
    const wanted = value.replaceAll('$', () => '$$')
    const forms = [
      '\n      MESSAGE: a',
      '\n      MESSAGE: "a"',
      `\n      MESSAGE: 'a'`,
      '\n      MESSAGE:',
      '\n      A: b',
      ' {MESSAGE: a}',
      ' {A: b}',
    ]
    for (const form of forms) {
      const edited = edit(`    environment:${form}`, message(value))
      for (const version of ['1.1', '1.2'] as const)
        expect(parseYaml(inFile(edited), { version }).services.app1.environment.MESSAGE).toBe(wanted)
    }
    for (const form of ['\n      - MESSAGE=a', '\n    - "MESSAGE"', ' [MESSAGE=a]', ' []', '\n      - A']) {
      const edited = edit(`    environment:${form}`, message(value))
      expect(parseYaml(inFile(edited)).services.app1.environment.at(-1)).toBe(`MESSAGE=${wanted}`)
    }
  })
})

describe('anchors, aliases and merges', () => {
  test.each([
    [
      'an alias is replaced',
      'x-i: &i a\nservices:\n  app1:\n    image: *i # x\n  app2:\n    image: *i\n',
      image('b'),
      'x-i: &i a\nservices:\n  app1:\n    image: b # x\n  app2:\n    image: *i\n',
    ],
    [
      'an aliased variable',
      'x-m: &m a\nservices:\n  app1:\n    environment: {MESSAGE: *m , B: *m}\n',
      message('b'),
      'x-m: &m a\nservices:\n  app1:\n    environment: {MESSAGE: b , B: *m}\n',
    ],
    [
      'an aliased entry',
      'x-m: &m MESSAGE=a\nservices:\n  app1:\n    environment:\n      - *m\n',
      message('b'),
      'x-m: &m MESSAGE=a\nservices:\n  app1:\n    environment:\n      - MESSAGE=b\n',
    ],
    [
      'a merged image is overridden',
      'x-a: &a\n  image: a\nservices:\n  app1:\n    <<: *a\n  app2:\n    <<: *a\n',
      image('b'),
      'x-a: &a\n  image: a\nservices:\n  app1:\n    <<: *a\n    image: b\n  app2:\n    <<: *a\n',
    ],
    [
      'a merged variable is overridden',
      'x-e: &e\n  MESSAGE: a\nservices:\n  app1:\n    environment:\n      <<: *e\n',
      message('b'),
      'x-e: &e\n  MESSAGE: a\nservices:\n  app1:\n    environment:\n      <<: *e\n      MESSAGE: b\n',
    ],
    [
      'an aliased environment is extended',
      'x-e: &e { A: x }\nservices:\n  app1:\n    environment: *e # x\n  app2:\n    environment: *e\n',
      message('b'),
      'x-e: &e { A: x }\nservices:\n  app1:\n    environment: {<<: *e, MESSAGE: b} # x\n  app2:\n    environment: *e\n',
    ],
    [
      'a merged environment with an anchor is extended',
      'x-a: &a\n  environment: &e\n    A: x\nservices:\n  app1:\n    <<: *a\n',
      message('b'),
      'x-a: &a\n  environment: &e\n    A: x\nservices:\n  app1:\n    <<: *a\n    environment:\n      <<: *e\n      MESSAGE: b\n',
    ],
    [
      'a merged environment of that variable only is replaced',
      'x-a: &a\n  environment: [MESSAGE=a]\nservices:\n  app1:\n    <<: [*a]\n',
      message('b'),
      'x-a: &a\n  environment: [MESSAGE=a]\nservices:\n  app1:\n    <<: [*a]\n    environment:\n      MESSAGE: b\n',
    ],
    [
      'an anchored service is edited, whoever merges it',
      'services:\n  app1: &app\n    image: a\n  app2:\n    <<: *app\n',
      image('b'),
      'services:\n  app1: &app\n    image: b\n  app2:\n    <<: *app\n',
    ],
    [
      'the other service is overridden',
      'services:\n  app2: &app\n    image: a\n  app1:\n    <<: *app\n',
      image('b'),
      'services:\n  app2: &app\n    image: a\n  app1:\n    <<: *app\n    image: b\n',
    ],
    [
      'a service that is an alias',
      'services:\n  app2: &app\n    image: a\n  app1: *app\n',
      image('b'),
      'services:\n  app2: &app\n    image: a\n  app1: {<<: *app, image: b}\n',
    ],
    [
      'two merge keys',
      'x-a: &a {image: a}\nservices:\n  app1:\n    <<: *a\n    <<: {init: true}\n',
      image('b'),
      'x-a: &a {image: a}\nservices:\n  app1:\n    <<: *a\n    <<: {init: true}\n    image: b\n',
    ],
    [
      'an anchored environment that others override',
      'services:\n  app1:\n    environment: &e\n      MESSAGE: a\n  app2:\n    environment:\n      <<: *e\n      MESSAGE: c\n',
      message('b'),
      'services:\n  app1:\n    environment: &e\n      MESSAGE: b\n  app2:\n    environment:\n      <<: *e\n      MESSAGE: c\n',
    ],
    [
      'an anchor that only x- uses',
      'services:\n  app1:\n    image: &i a\nx-i: *i\n',
      image('b'),
      'services:\n  app1:\n    image: &i b\nx-i: *i\n',
    ],
  ])('%s', (_, before, change, after) => {
    expect(editService(before, 'app1', change)).toBe(after)
  })

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
      'a reset environment',
      'services:\n  app1:\n    environment: !reset {A: x}\n',
      message('b'),
      'its environment (line 3) is reset',
    ],
    ['a service without a block', 'services:\n  app1:\n', image('b'), 'service app1 (line 2) has no block'],
    ['a merged service', 'x-s: &s\n  app1: {image: a}\nservices:\n  <<: *s\n', image('b'), 'has no block'],
    ['an explicit key without a value', 'services:\n  app1:\n    ? image\n', image('b'), 'cannot be edited'],
  ])('%s is refused', (_, text, change, words) => {
    expect(() => editService(text, 'app1', change)).toThrow(problem('compose-not-editable', words))
  })
})

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
  ])('%j is %s', (text, code, words) => {
    expect(() => editService(text, 'app1', image('b'))).toThrow(problem(code, words))
  })

  test('half a character is no value', () => {
    expect(() => editService(seed, 'app1', message('\ud800'))).toThrow(problem('request-invalid'))
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

  test('lineOf counts from 1', () => {
    expect([0, 1, 2, 3].map((offset) => lineOf('a\n\nb', offset))).toEqual([1, 1, 2, 3])
  })
})

describe('readService', () => {
  test.each([
    ['services: {app1: {}}', { image: undefined, env: {}, hasImage: false, hasEnvironment: false }],
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
      'x: &x {image: a, environment: {A: b}}\nservices: {app1: {<<: *x}}',
      { image: 'a', env: { A: 'b' }, hasImage: true, hasEnvironment: true },
    ],
    [
      'services: {app1: {image: "a:${TAG}", environment: [A=$$]}}',
      { image: 'a:${TAG}', env: { A: '$$' }, hasImage: true, hasEnvironment: true },
    ],
    ['services: {app2: {}}', undefined],
    ['services: {constructor: {}}', undefined],
    ['networks: {}', undefined],
    ['', undefined],
  ])('%s', (text, wanted) => {
    expect(readService(text, 'app1')).toEqual(wanted)
  })
})

// Files of every form, with comments and blanks anywhere; the model says what a parser must find afterwards.
describe('any file', () => {
  const noise = fc.constantFrom('', '', '    # image: no\n', '\n', '  # less\n', '    \n')
  const end = fc.constantFrom('', ' # it’s: "x', '  ', '\t# y')
  const value = fc.constantFrom('a', '"b"', "'c'", '1', 'a:${X}', '"x\\ty"', 'http://x/#y')
  const indented = (indent: string) =>
    fc
      .tuple(fc.subarray(['A', 'MESSAGE', '"B"']), value, end, noise)
      .map(
        ([keys, some, tail, after]) =>
          keys.map((key) => `${indent}${key}: ${some}${tail}\n`).join('') + after,
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
})
