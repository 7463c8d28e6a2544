import { expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { edit, inFile, message } from './files.ts'

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
