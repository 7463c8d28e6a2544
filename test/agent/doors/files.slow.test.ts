// The files of the host: whatever a compose file or an nginx configuration holds, it is read or refused with a code.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { countEstablished } from '../../../agent/adapters/engine/proc-net.ts'
import { editService, readService } from '../../../agent/compose/edit/edit.ts'
import { parseDump } from '../../../agent/nginx/config/dump.ts'
import { directivesOf } from '../../../agent/nginx/config/directives.ts'
import { readSettings } from '../../../agent/nginx/config/settings.ts'
import { findUpstreams, hostAndPort } from '../../../agent/nginx/config/upstream.ts'
import { reportOf } from '../../../shared/problems.ts'
import { anyText, damaged } from '../../shared/doors/texts.ts'
import { main } from '../nginx/config/files.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')
const COMPOSE = fixture('docker-compose.yml')
const NGINX = fixture('nginx.conf')
const SERVICES = Object.keys((parse(COMPOSE) as { services: object }).services)

function codeOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return reportOf(error).code
  }
}

test('a compose file after any accident is read and edited, or refused with a code', () => {
  const codes = [
    undefined,
    'compose-invalid',
    'compose-not-editable',
    'compose-edit-spills',
    'service-unknown',
  ]
  const yaml = fc
    .array(
      fc.constantFrom(
        'services:',
        '\n  app1:',
        '\n    image: ',
        'x',
        '&a ',
        '*a',
        '*b',
        '<<: *a',
        '!reset ',
        '{',
        '}',
        '[',
        ']',
        '"',
        '\n',
        '|',
        '>-',
        '- ',
        '? ',
        '\t',
        '---\n',
        '# x',
      ),
      { maxLength: 15 },
    )
    .map((parts) => parts.join(''))
  fc.assert(
    fc.property(
      fc.oneof(damaged(fc.constant(COMPOSE)), yaml, anyText),
      fc.constantFrom(...SERVICES, 'app1', '__proto__'),
      (text, service) => {
        expect(codes).toContain(codeOf(() => readService(text, service)))
        const change = { image: 'b:2', env: { MESSAGE: 'x' } }
        expect(codes).toContain(codeOf(() => editService(text, service, change)))
      },
    ),
    { numRuns: 500 },
  )
})

test('an nginx configuration after any accident is read and edited, or refused with a code', () => {
  fc.assert(
    fc.property(fc.oneof(damaged(fc.constant(NGINX)), anyText), (text) => {
      const files = main(text)
      expect(codeOf(() => readSettings(files, 'apps'))).not.toBe('internal')
      expect(codeOf(() => directivesOf(files))).not.toBe('internal')
      const upstreams = findUpstreams(files)
      for (const upstream of upstreams)
        for (const server of upstream.servers)
          expect(codeOf(() => hostAndPort(server.address))).not.toBe('internal')
    }),
    { numRuns: 500 },
  )
})

test('what `nginx -T` printed comes apart into the files it was made of, whatever they hold', () => {
  const whole = fc
    .array(
      fc.constantFrom(
        'events {}\n',
        'http { server { listen 80; } }\n',
        '# x\n',
        '\n',
        'user "a b";\n',
        "log_format x '{';\n",
        'a\r\n;',
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((parts) => `${parts.join('')}x on;\n`)
  const files = fc.array(fc.tuple(fc.stringMatching(/^\/[a-z/.]{1,10}$/), whole), {
    minLength: 1,
    maxLength: 3,
  })
  fc.assert(
    fc.property(files, (some) => {
      const dump = some.map(([path, text]) => `# configuration file ${path}:\n${text}\n`).join('')
      expect(parseDump(dump)).toEqual(some.map(([path, text]) => ({ path, text })))
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(
      damaged(fc.constant(`# configuration file /a:\n${NGINX}\n# configuration file /b:\nx on;\n\n`)),
      (text) => {
        for (const file of parseDump(text)) expect(text).toContain(file.text)
      },
    ),
    { numRuns: 500 },
  )
})

test('a table of connections is counted, whatever it looks like', () => {
  const row =
    '   0: 0100007F:1F90 0200007F:0050 01 00000000:00000000 00:00000000 00000000  0 0 1 1 0 100 0 0 10 0\n'
  fc.assert(
    fc.property(fc.oneof(damaged(fc.constant(row.repeat(3))), anyText), (table) => {
      const count = countEstablished(table, [{ ip: '127.0.0.2', port: 80 }])
      // Of a damaged table no more than could stand in it: a line may hold what was two.
      expect(count).toBeLessThanOrEqual(table.length / ' 0200007F:0050 01 '.length)
    }),
  )
  expect(countEstablished(row.repeat(3), [{ ip: '127.0.0.2', port: 80 }])).toBe(3)
})
