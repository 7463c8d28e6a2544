import { describe, expect, test } from 'vitest'
import { readAccessLogs } from '../../../../agent/nginx/config/access-log.ts'
import { MAIN, main, seed } from './files.ts'

const STRINGS = `'$remote_addr "$request" ' "$upstream_addr $upstream_status"`
const FORMAT = `log_format up ${STRINGS};`
const LOG = '/var/log/nginx/access.log'

/** The paths and formats that are read, or why none is. */
function found(http: string, ...others: { path: string; text: string }[]): string {
  const logs = readAccessLogs(main(`http {\n${http}\n}`, ...others), 'apps')
  return 'unusable' in logs
    ? logs.unusable
    : logs.logs.map(({ path, format }) => `${path} ${format.name}`).join()
}

test('the seed’s own format has no address', () => {
  expect(readAccessLogs(main(seed), 'apps')).toEqual({
    unusable: `the log format main has no $upstream_addr (${MAIN}:45)`,
  })
})

test('a format is its strings in a row, with their escapes, as nginx reads them', () => {
  const logs = readAccessLogs(
    main(
      `http { log_format j escape=json '{"to":"$upstream_addr",' "\\"st\\":\\"$upstream_status\\"}"; access_log /a j; server { location / { proxy_pass http://apps; } } }`,
    ),
    'apps',
  )
  expect(logs).toEqual({
    logs: [
      {
        path: '/a',
        format: { name: 'j', escape: 'json', text: '{"to":"$upstream_addr","st":"$upstream_status"}' },
      },
    ],
  })
  // It must survive a crash as a part of the roll's record.
  expect(JSON.parse(JSON.stringify(logs))).toEqual(logs)
})

test.each([
  ['', 'default'],
  ['escape=default', 'default'],
  ['escape=none', 'none'],
] as const)('a format with %j is escaped by: %s', (option, escape) => {
  const http = `log_format x ${option} '$upstream_addr $upstream_status'; access_log /a x; server { proxy_pass http://apps; }`
  expect(readAccessLogs(main(`http { ${http} }`), 'apps')).toEqual({
    logs: [{ path: '/a', format: { name: 'x', escape, text: '$upstream_addr $upstream_status' } }],
  })
})

const PASS = 'location / { proxy_pass http://apps; }'

test('a format is http’s own, whatever else has its name', () => {
  const http = `log_format; upstream up { server x; } ${FORMAT} access_log /a up; server { ${PASS} }`
  const format = {
    name: 'up',
    escape: 'default',
    text: '$remote_addr "$request" $upstream_addr $upstream_status',
  }
  const logs = { logs: [{ path: '/a', format }] }
  expect(readAccessLogs(main(`stream { log_format up '$status'; } http { ${http} }`), 'apps')).toEqual(logs)
  expect(readAccessLogs([{ path: '/alone', text: http }], 'apps')).toEqual(logs)
  expect(readAccessLogs([], 'apps')).toHaveProperty('unusable')
})

describe('the innermost block with an access_log decides', () => {
  test.each([
    [`access_log /http up; server { ${PASS} }`, '/http up'],
    [`access_log /http up; server { access_log /server up; ${PASS} }`, '/server up'],
    [
      `access_log /http up; server { access_log /server up; location / { access_log /location up; proxy_pass http://apps; } }`,
      '/location up',
    ],
    [`access_log /http up; server { location / { location /a { proxy_pass http://apps; } } }`, '/http up'],
    [
      `access_log /http up; server { location / { if ($x) { access_log /if up; } proxy_pass http://apps; } }`,
      '/http up',
    ],
    // Of another server, another upstream, or the block beside.
    [`access_log /http up; server { access_log /other up; } server { ${PASS} }`, '/http up'],
    [
      `access_log off; server { access_log /other up; location / { proxy_pass http://other; } } server { access_log /s up; ${PASS} }`,
      '/s up',
    ],
    [`access_log /http up; server { location /x { access_log off; } ${PASS} }`, '/http up'],
    // Each place that passes to it has its own; what is off in one of them is not missed.
    [`server { access_log /a up; ${PASS} } server { access_log /b up; ${PASS} }`, '/a up,/b up'],
    [`access_log /a up; server { ${PASS} } server { ${PASS} }`, '/a up'],
    [
      `log_format too ${STRINGS}; server { access_log /a up; ${PASS} } server { access_log /a too; ${PASS} }`,
      '/a up,/a too',
    ],
    [
      `access_log /a up; server { location /ping { access_log off; proxy_pass http://apps; } ${PASS} }`,
      '/a up',
    ],
    // Several at one level: each has every request.
    [`access_log /a combined; access_log /b up; server { ${PASS} }`, '/b up'],
    [`access_log /a up if=$x; access_log syslog:server=x up; access_log /b up; server { ${PASS} }`, '/b up'],
    // Relative to nginx's own folder.
    [`access_log logs/a up; server { ${PASS} }`, '/etc/nginx/logs/a up'],
  ])('%s', (http, logs) => {
    expect(found(FORMAT + http)).toBe(logs)
  })

  test('across the files that include each other', () => {
    const site = {
      path: '/etc/nginx/conf.d/site.conf',
      text: `server { access_log /site up; include snippets/pass; }`,
    }
    const pass = { path: '/etc/nginx/snippets/pass', text: PASS }
    expect(found(`${FORMAT} access_log /http up; include conf.d/*.conf;`, site, pass)).toBe('/site up')
  })
})

describe('a request goes to the upstream', () => {
  test.each([
    ['proxy_pass http://apps/path', LOG],
    ['proxy_pass https://APPS', LOG],
    ['proxy_pass http://apps:8080', LOG],
    ['fastcgi_pass apps', LOG],
    ['grpc_pass grpc://apps', LOG],
    // It may.
    ['proxy_pass http://$backend', LOG],
    ['proxy_pass $scheme://$backend$request_uri', LOG],
    ['proxy_pass http://app$n', LOG],
    ['proxy_pass http://apps/$1', LOG],
    ['proxy_pass http://other/$1', undefined],
    ['proxy_pass http://apps2', undefined],
    ['proxy_pass http://other/apps', undefined],
    ['proxy_set_header Host apps', undefined],
    ['proxy_redirect http://apps', undefined],
    ['proxy_pass', undefined],
  ])('%s: %s', (directive, log) => {
    const logs = found(`${FORMAT} access_log ${LOG} up; server { location / { ${directive}; } }`)
    expect(logs).toBe(
      log === undefined ? 'nothing in nginx is passed to upstream apps by its name' : `${log} up`,
    )
  })

  test.each(['stream', 'mail'])('not one of a %s', (block) => {
    const files = main(`${block} { ${FORMAT} access_log /a up; server { proxy_pass apps; } }`)
    expect(readAccessLogs(files, 'apps')).toEqual({
      unusable: 'nothing in nginx is passed to upstream apps by its name',
    })
  })
})

describe('a log that cannot be read says why, and where', () => {
  test.each([
    [`server { ${PASS} }`, 'the log format combined has no $upstream_addr'],
    [`access_log /a; server { ${PASS} }`, `the log format combined has no $upstream_addr (${MAIN}:2)`],
    [`access_log off; server { ${PASS} }`, `the access log is off (${MAIN}:2)`],
    [
      `access_log /a up if=$loggable; server { ${PASS} }`,
      `the access log /a has only some of the requests (${MAIN}:2)`,
    ],
    [
      `access_log /a up buffer=32k flush=1m; server { ${PASS} }`,
      `the access log /a is written late, by way of a buffer (${MAIN}:2)`,
    ],
    [
      `access_log /a up gzip; server { ${PASS} }`,
      `the access log /a is written late, by way of a buffer (${MAIN}:2)`,
    ],
    [`access_log syslog:server=10.0.0.1 up; server { ${PASS} }`, `the access log goes to syslog (${MAIN}:2)`],
    [
      `access_log /a/$host up; server { ${PASS} }`,
      `the access log /a/$host has a variable in its name (${MAIN}:2)`,
    ],
    [`access_log /a missing; server { ${PASS} }`, `there is no log format missing (${MAIN}:2)`],
  ])('%s', (http, why) => {
    expect(found(FORMAT + http)).toBe(why)
  })
})
