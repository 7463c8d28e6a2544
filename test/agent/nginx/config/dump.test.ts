import { describe, expect, test } from 'vitest'
import { parseDump, type ConfigFile } from '../../../../agent/nginx/config/dump.ts'
import { MAIN, main, seed } from './files.ts'

const dumpOf = (files: readonly ConfigFile[]) =>
  files.map(({ path, text }) => `# configuration file ${path}:\n${text}\n`).join('')

describe('parseDump', () => {
  const notes = `nginx: the configuration file ${MAIN} syntax is ok\nnginx: configuration file ${MAIN} test is successful\n`

  test.each([
    ['one file', main(seed)],
    ['a file without a final newline', main('events {}', { path: '/a', text: 'x 1;' })],
    ['an empty file', main('', { path: '/a', text: '' }, { path: '/b', text: '\n' })],
    ['CRLF', main('events {}\r\n', { path: '/a', text: '\r\n' })],
    ['a path with spaces and colons', main('events {}\n', { path: '/a b: c:', text: 'x 1;\n' })],
    ['a header in a comment within a block', main('http {\n# configuration file /x:\n}\n')],
    ['a header in a comment at the top', main('# configuration file /x:\nhttp {\n}\n')],
    ['a header in a comment that is indented', main('events {}\n  # configuration file /x:\nhttp {}\n')],
    ['a line that begins like a note', main("x '\nnginx: a\n';\n")],
    ['a header in a quoted string', main('x "\n# configuration file /x:\n";\n', { path: '/a', text: '' })],
  ])('%s comes back byte for byte', (_, files) => {
    expect(parseDump(dumpOf(files))).toEqual(files)
    expect(parseDump(notes + dumpOf(files))).toEqual(files)
    expect(parseDump(dumpOf(files) + notes)).toEqual(files)
    expect(parseDump(dumpOf(files) + notes.trimEnd())).toEqual(files)
  })

  test('a header in a comment between two blocks leaves no half that equals the file', () => {
    const text = 'events {}\n# configuration file /x:\nhttp {}\n'
    const files = parseDump(dumpOf(main(text)))
    expect(files.map(({ path }) => path)).toEqual([MAIN, '/x'])
    expect(files.some((file) => file.text === text)).toBe(false)
  })

  test('a file that is not whole by our reading does not swallow the next', () => {
    const files = main('http {\n', { path: '/a', text: 'x 1;\n' })
    expect(parseDump(dumpOf(files))).toEqual(files)
  })

  test.each([[''], ['nginx: [emerg] unexpected "}"\n'], ['no header\n']])('%j has no files', (output) => {
    expect(parseDump(output)).toEqual([])
  })
})
