import { describe, expect, test } from 'vitest'
import { directivesOf } from '../../../../agent/nginx/config/directives.ts'
import {
  listensOf,
  parseTimeMs,
  readSettings,
  usesPast,
  type Listen,
  type NginxSettings,
} from '../../../../agent/nginx/config/settings.ts'
import { MAIN, main, seed } from './files.ts'

const listensIn = (files: Parameters<typeof directivesOf>[0]): Omit<Listen, 'server'>[] =>
  listensOf(directivesOf(files)).map(({ address, port, tls, names, isDefault }) => ({
    address,
    port,
    tls,
    names,
    isDefault,
  }))

/** Where `app1` is used past an upstream. */
const usesOf = (settings: NginxSettings, upstream: string) =>
  usesPast(settings, 'app1', upstream).map(({ where }) => where)

describe('readSettings', () => {
  test('the seed listens on port 80 as localhost and sets no times', () => {
    const settings = readSettings(main(seed), 'apps')
    expect(settings).toMatchObject({ keepaliveMinTimeoutMs: undefined, workerShutdownTimeoutMs: undefined })
    expect(listensIn(main(seed))).toEqual([
      { address: '*', port: 80, tls: false, names: ['localhost'], isDefault: true },
    ])
    expect(usesOf(settings, 'apps')).toEqual([])
    expect(usesOf(settings, 'another')).toEqual([`${MAIN}:17 server app1:3000`])
  })

  test.each([
    ['0', 0],
    ['1', 1000],
    ['90s', 90_000],
    ['500ms', 500],
    ['1m', 60_000],
    ['1h30m', 5_400_000],
    ['1h 30', 3_630_000],
    ['1d', 86_400_000],
    ['1w', 604_800_000],
    ['1M', 2_592_000_000],
    ['1y', 31_536_000_000],
    ['', undefined],
    ['s', undefined],
    ['1x', undefined],
    ['-1', undefined],
    ['1.5s', undefined],
    [`${'1'.repeat(100)}x`, undefined],
  ])('%j is %s ms', (text, ms) => {
    expect(parseTimeMs(text)).toBe(ms)
  })

  test('the times are found where they are set: the first end of a worker, the last of a keepalive', () => {
    const text =
      'worker_shutdown_timeout 30s; worker_shutdown_timeout 40s; http { keepalive_min_timeout 1s; server { keepalive_min_timeout 500ms; } }'
    expect(readSettings(main(text), 'apps')).toMatchObject({
      workerShutdownTimeoutMs: 30_000,
      keepaliveMinTimeoutMs: 1000,
    })
  })

  test('of a time that is none nothing is known', () => {
    expect(readSettings(main('worker_shutdown_timeout x; keepalive_min_timeout;'), 'apps')).toMatchObject({
      workerShutdownTimeoutMs: undefined,
      keepaliveMinTimeoutMs: undefined,
    })
  })

  test('a file that nobody includes is read as if http did', () => {
    const files = [{ path: '/a', text: 'server { listen 81; }\nupstream other { server app1:1; }' }]
    const settings = readSettings(files, 'apps')
    expect(listensIn(files).map(({ port }) => port)).toEqual([81])
    expect(usesOf(settings, 'apps')).toEqual(['/a:2 server app1:1'])
  })

  test.each([
    ['', ['*:80']],
    ['listen 8080;', ['*:8080']],
    ['listen *:81; listen 127.0.0.1;', ['*:81', '127.0.0.1:80']],
    ['listen localhost:82;', ['localhost:82']],
    ['listen [::]:80 ipv6only=on; listen [::1];', [':::80', '::1:80']],
    ['listen 80-82;', ['*:80', '*:81', '*:82']],
    ['listen unix:/run/x.sock;', []],
    ['listen 443 ssl;', ['*:443 tls']],
    ['listen 443; ssl on;', ['*:443 tls']],
    ['listen 443; ssl;', ['*:443']],
    ['listen 443; ssl off;', ['*:443']],
    ['listen 443 quic; listen 443 ssl http2;', ['*:443 tls']],
    ['listen 80 proxy_protocol;', []],
  ])('server { %s }', (inside, listens) => {
    const found = listensIn(main(`http { server { ${inside} } }`))
    expect(found.map(({ address, port, tls }) => `${address}:${port}${tls ? ' tls' : ''}`)).toEqual(listens)
  })

  test('the default is the server that says so, else the first of an address and port', () => {
    const text = `http {
      server { listen 80; server_name a; } server { listen 0.0.0.0:80; server_name b c; server_name d; }
      server { listen 81; server_name e; } server { listen 81 default_server; server_name f; }
      server { listen 82; server_name g; } server { listen 82 default; server_name h; }
      server { listen 127.0.0.1:80; server_name i; } server { listen 127.0.0.2:80; server_name j; }
    }
    stream { server { listen 80; } } mail { server { listen 25; } }`
    expect(listensIn(main(text)).map(({ names, isDefault }) => [...names, isDefault])).toEqual([
      ['a', true],
      ['b', 'c', 'd', false],
      ['e', false],
      ['f', true],
      ['g', false],
      ['h', true],
      ['i', true],
      ['j', true],
    ])
  })

  test.each([
    ['server { proxy_pass http://app1:3000; }', 'proxy_pass http://app1:3000'],
    ['location / { proxy_pass https://APP1/x; }', 'proxy_pass https://APP1/x'],
    ['location / { proxy_pass http://app1:3000$request_uri; }', 'proxy_pass http://app1:3000$request_uri'],
    ['location / { fastcgi_pass app1:9000; }', 'fastcgi_pass app1:9000'],
    ['location / { grpc_pass grpc://app1:50051; }', 'grpc_pass grpc://app1:50051'],
    ['location / { uwsgi_pass uwsgi://app1:1; }', 'uwsgi_pass uwsgi://app1:1'],
    ['location / { scgi_pass app1:1; }', 'scgi_pass app1:1'],
    ['upstream other { server app1:3000 backup; }', 'server app1:3000 backup'],
    ['server { set $to http://app1:3000; }', 'set $to http://app1:3000'],
    ['map $host $to { default app1:3000; }', 'default app1:3000'],
    ['split_clients $host $to { 50% app1:3000; }', '50% app1:3000'],
    ['location app1 { proxy_pass http://app1:3000; }', 'proxy_pass http://app1:3000'],
    ['resolver app1;', undefined],
    ['upstream other { zone app1 64k; }', undefined],
    ['upstream { server; } location / { proxy_pass; }', undefined],
    ['location / { proxy_pass http://app10:3000; }', undefined],
    ['location / { proxy_pass http://app1$n:3000; }', undefined],
    ['location / { proxy_pass http://unix:/app1; }', undefined],
    ['location / { proxy_set_header Host app1; }', undefined],
    ['upstream app1 { server x; } server { proxy_pass http://app1; }', undefined],
    ['upstream app1 { server x; } upstream other { server app1:1; }', 'server app1:1'],
    ['upstream apps { server app1:1; }', undefined],
  ])('http { %s } uses app1: %s', (inside, use) => {
    const uses = usesOf(readSettings(main(`http {\n${inside}\n}`), 'apps'), 'apps')
    expect(uses).toEqual(use === undefined ? [] : [`${MAIN}:2 ${use}`])
  })

  test('what nginx resolves as it loads is told from what it resolves for a request', () => {
    const inside = 'set $to app1; location / { proxy_pass http://APP1:3000; } upstream o { server app1:1; }'
    const settings = readSettings(main(`http { ${inside} }`), 'apps')
    expect(usesPast(settings, 'app1', 'apps').map(({ isAtLoad }) => isAtLoad)).toEqual([false, true, true])
    expect(usesPast(settings, 'app1', 'o')).toHaveLength(2)
    expect(JSON.parse(JSON.stringify(settings))).toEqual(settings)
  })

  test('what only a request tells is no use of a host', () => {
    const inside = 'set $to ""; location / { proxy_pass http://$host; } upstream o { server unix:/x; }'
    expect(readSettings(main(`http { ${inside} }`), 'apps').uses).toEqual([])
  })

  test('a file that is included twice says it once', () => {
    const files = main('http { include a.conf; include a.conf; }', {
      path: '/etc/nginx/a.conf',
      text: 'upstream o { server app1:1; }',
    })
    expect(usesOf(readSettings(files, 'apps'), 'apps')).toEqual(['/etc/nginx/a.conf:1 server app1:1'])
  })
})
