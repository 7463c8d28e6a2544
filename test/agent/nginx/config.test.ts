import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  editUpstream,
  findUpstreams,
  parseDump,
  parseTimeMs,
  readSettings,
  type ConfigFile,
} from '../../../agent/nginx/config.ts'

const seed = readFileSync(new URL('../fixtures/nginx.conf', import.meta.url), 'utf8')
const MAIN = '/etc/nginx/nginx.conf'

const dumpOf = (files: readonly ConfigFile[]) =>
  files.map(({ path, text }) => `# configuration file ${path}:\n${text}\n`).join('')
const main = (text: string, ...others: ConfigFile[]) => [{ path: MAIN, text }, ...others]
const out =
  (...hosts: string[]) =>
  ({ host }: { host: string }) =>
    hosts.includes(host)
const edit = (servers: string, ...hosts: string[]) => {
  const text = `upstream apps {${servers}}`
  const edited = editUpstream(text, 'apps', out(...hosts))
  return edited.slice('upstream apps {'.length, -1)
}
// A limit goes with one character before it: the one that was there, or the space that was added.
const plain = (some: string) => some.replaceAll(' down', '').replaceAll(/[ \t\n]"?max_fails=\d"?/g, '')

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
    ['a header in a quoted string', main('x "\n# configuration file /x:\n";\n', { path: '/a', text: '' })],
  ])('%s comes back byte for byte', (_, files) => {
    expect(parseDump(dumpOf(files))).toEqual(files)
    expect(parseDump(notes + dumpOf(files))).toEqual(files)
    expect(parseDump(dumpOf(files) + notes)).toEqual(files)
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

describe('findUpstreams', () => {
  test('the seed has two live servers', () => {
    expect(findUpstreams(main(seed))).toEqual([
      {
        name: 'apps',
        context: 'http',
        file: MAIN,
        line: 16,
        servers: [
          { address: 'app1:3000', host: 'app1', port: 3000, isDown: false, isBackup: false, line: 17 },
          { address: 'app2:3000', host: 'app2', port: 3000, isDown: false, isBackup: false, line: 18 },
        ],
        elsewhere: [],
      },
    ])
  })

  test.each([
    ['app1', 'app1', 80],
    ['app1:3000', 'app1', 3000],
    ['"app1:3000"', 'app1', 3000],
    ["'app1':3000", 'app1', 80],
    ['10.0.0.1:81', '10.0.0.1', 81],
    ['[::1]:81', '::1', 81],
    ['[fe80::1]', 'fe80::1', 80],
    ['unix:/run/a.sock', '', 0],
    ['unix:/run/a.sock:', '', 0],
    ['$backend:80', '', 0],
    ['${backend}:80', '', 0],
  ])('server %s is host %j and port %d', (address, host, port) => {
    expect(findUpstreams(main(`upstream a { server ${address}; }`))[0]?.servers[0]).toMatchObject({
      host,
      port,
    })
  })

  test('parameters are words, not text', () => {
    const text =
      'upstream a { server down:1; server b:1 # down\n backup; server c:1 "down"; server d:1 downs; }'
    const [upstream] = findUpstreams(main(text))
    expect(upstream?.servers.map(({ host, isDown, isBackup }) => [host, isDown, isBackup])).toEqual([
      ['down', false, false],
      ['b', false, true],
      ['c', true, false],
      ['d', false, false],
    ])
  })

  const inHttp = { path: '/etc/nginx/conf.d/a.conf', text: 'upstream a { server x; }\n' }
  const inStream = { path: '/etc/nginx/stream.d/b.conf', text: 'upstream b { server y:1; }\n' }
  test.each([
    [
      'included by globs',
      'http { include conf.d/*.conf; } stream { include /etc/nginx/stream.d/[ab].conf; }',
      ['http', 'stream'],
    ],
    ['stream first', 'stream { include stream.d/?.conf; } http { include conf.d/*; }', ['stream', 'http']],
    ['included by nobody', 'events {}', ['http', 'http']],
    ['a star stops at a slash', 'stream { include *.conf; }', ['http', 'http']],
  ])('an upstream in another file, %s', (_, text, contexts) => {
    expect(findUpstreams(main(text, inHttp, inStream)).map(({ context }) => context)).toEqual(contexts)
  })

  test('a file that includes itself ends', () => {
    expect(findUpstreams(main(`include nginx.conf; http { upstream a {} }`))).toHaveLength(1)
  })

  test('servers that an include adds are named, not counted', () => {
    const list = { path: '/etc/nginx/apps', text: '\nserver app2:3000;' }
    const [upstream] = findUpstreams(main('http { upstream a { server app1; include apps; } }', list))
    expect(upstream?.servers.map(({ host }) => host)).toEqual(['app1'])
    expect(upstream?.elsewhere).toEqual(['/etc/nginx/apps:2 server app2:3000'])
  })

  test('upstreams in comments, strings and Lua are not there', () => {
    const text = `http {
  # upstream a { server x; }
  log_format main 'upstream b { server y; }' "\\" upstream c {";
  init_by_lua_block {
    -- } don't
    local s = "}" .. '\\'}' .. [[ } ' ]] --[==[ } ]] ]==]
    if s then t = { a = "{" } end
  }
  map $x $y { "~^upstream {" 1; default \${z}; }
  location ~ \\{2\\}$ { return 200; }
  upstream real { server z; }
}`
    expect(findUpstreams(main(text)).map(({ name }) => name)).toEqual(['real'])
  })
})

describe('editUpstream', () => {
  test.each([
    [2, ['app2'], ['app1:3000 max_fails=0;', 'app2:3000 down;']],
    [3, ['app1'], ['app1:3000 down;', 'app2:3000 max_fails=0;']],
    [4, [], ['app1:3000;', 'app2:3000;']],
  ])('the seed’s step %d', (_, hosts, servers) => {
    const lines = seed.split('\n')
    lines.splice(16, 2, ...servers.map((server) => `        server ${server}`))
    expect(editUpstream(seed, 'apps', out(...hosts))).toBe(lines.join('\n'))
  })

  test.each([
    ['two on a line', ' server a; server b; ', ['b'], ' server a max_fails=0; server b down; '],
    [
      'the same twice',
      'server a:1;server a:2;server b;',
      ['a'],
      'server a:1 down;server a:2 down;server b max_fails=0;',
    ],
    ['exactly the same twice', 'server a;server a;', ['a'], 'server a down;server a down;'],
    [
      'a limit of their own',
      'server a max_fails=3 weight=2;server b;',
      ['b'],
      'server a max_fails=0 weight=2;server b down;',
    ],
    ['a quoted limit', 'server a "max_fails=3" ;server b;', ['b'], 'server a max_fails=0 ;server b down;'],
    [
      'two limits',
      'server a max_fails=3 max_fails=4;server b;',
      ['b'],
      'server a max_fails=0 max_fails=0;server b down;',
    ],
    [
      'a comment before the semicolon',
      'server a weight=5 # x; down\n ;server b;',
      ['a'],
      'server a weight=5 down # x; down\n ;server b max_fails=0;',
    ],
    [
      'the user’s own down',
      'server a down;server b;server c;',
      ['b'],
      'server a down;server b down;server c max_fails=0;',
    ],
    ['only the user’s own down', 'server a down;server b;', ['a'], 'server a down;server b;'],
    ['nobody', 'server a;server b;', [], 'server a;server b;'],
    ['a host that is not there', 'server a;server b;', ['c'], 'server a;server b;'],
    ['a backup', 'server a;server b backup;', ['a'], 'server a down;server b backup max_fails=0;'],
    [
      'CRLF and tabs',
      '\r\n\tserver\ta\t;\t\r\n\tserver b;\r\n',
      ['a'],
      '\r\n\tserver\ta down\t;\t\r\n\tserver b max_fails=0;\r\n',
    ],
    ['quoted addresses', `server 'a:1';server "b";`, ['a'], `server 'a:1' down;server "b" max_fails=0;`],
    [
      'other directives',
      'zone z 64k;server a;keepalive 8;# server a;\n',
      ['a'],
      'zone z 64k;server a down;keepalive 8;# server a;\n',
    ],
  ])('%s', (_, before, hosts, after) => {
    expect(edit(before, ...hosts)).toBe(after)
  })

  test('another upstream is left alone', () => {
    const text = 'http{upstream b{server x;server y;}upstream a{server x;}}'
    expect(editUpstream(text, 'a', out('x'))).toBe(
      'http{upstream b{server x;server y;}upstream a{server x down;}}',
    )
  })

  test.each([[''], ['upstream b {}'], ['# upstream a {}'], ['upstream a;']])(
    '%j has no upstream a',
    (text) => {
      expect(() => editUpstream(text, 'a', () => false)).toThrow(
        expect.objectContaining({ code: 'upstream-unknown' }),
      )
    },
  )

  const gap = fc.constantFrom(' ', '\t', '\n', '\r\n', ' # it’s {a} "comment; server x\n', '  ')
  const parameter = fc.constantFrom(
    'weight=5',
    'max_fails=3',
    '"max_fails=1"',
    'fail_timeout=1s',
    'backup',
    'max_conns=${n}',
  )
  const server = fc
    .tuple(
      gap,
      fc.constantFrom('a', 'b:80', '"c"', '[::1]:3000'),
      fc.array(fc.tuple(gap, parameter), { maxLength: 3 }),
      gap,
    )
    .map(
      ([before, host, parameters, after]) => `server${before}${host}${parameters.flat().join('')}${after};`,
    )
  const config = fc
    .tuple(
      gap,
      fc.array(fc.tuple(gap, server), { minLength: 1, maxLength: 5 }),
      gap,
      fc.constantFrom('', '\n', '\r\n'),
    )
    .map(
      ([a, servers, b, end]) =>
        `user x;http {${a}upstream apps {${servers.flat().join('')}${b}}server { listen 80; }}${end}`,
    )
  const someHosts = fc.subarray(['a', 'b', 'c', '::1'])

  test('only words are added, and limits changed: every other byte stays', () => {
    fc.assert(
      fc.property(config, someHosts, (text, hosts) => {
        const edited = editUpstream(text, 'apps', out(...hosts))
        expect(plain(edited)).toBe(plain(text))
      }),
    )
  })

  test('exactly the servers that are out are down, and the others keep their place', () => {
    fc.assert(
      fc.property(config, someHosts, (text, hosts) => {
        const isOut = out(...hosts)
        const [before] = findUpstreams(main(text))
        const [after] = findUpstreams(main(editUpstream(text, 'apps', isOut)))
        expect(after?.servers).toEqual(before?.servers.map((one) => ({ ...one, isDown: isOut(one) })))
      }),
    )
  })

  test('editing what was edited changes nothing more, and nobody out is the original', () => {
    fc.assert(
      fc.property(config, someHosts, (text, hosts) => {
        const edited = editUpstream(text, 'apps', out(...hosts))
        expect(editUpstream(edited, 'apps', out(...hosts))).toBe(edited)
        expect(editUpstream(text, 'apps', out())).toBe(text)
      }),
    )
  })

  test('what the tokenizer reads in any text never throws', () => {
    const noise = fc.array(
      fc.constantFrom(...'{};#"\'\\$ \n\r\tab', 'server a;', 'upstream apps {', 'x_by_lua_block {', '[['),
      { maxLength: 40 },
    )
    fc.assert(
      fc.property(noise, (parts) => {
        findUpstreams(main(parts.join('')))
        parseDump(`# configuration file /a:\n${parts.join('')}\n`)
      }),
    )
  })
})

describe('readSettings', () => {
  test('the seed listens on port 80 as localhost and sets no times', () => {
    const settings = readSettings(main(seed))
    expect(settings).toMatchObject({ keepaliveMinTimeoutMs: undefined, workerShutdownTimeoutMs: undefined })
    expect(settings.listens).toEqual([
      { address: '*', port: 80, tls: false, names: ['localhost'], isDefault: true },
    ])
    expect(settings.otherUses('app1', 'apps')).toEqual([])
    expect(settings.otherUses('app1', 'another')).toEqual([`${MAIN}:17 server app1:3000`])
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
  ])('%j is %s ms', (text, ms) => {
    expect(parseTimeMs(text)).toBe(ms)
  })

  test('the times are found where they are set: the first end of a worker, the last of a keepalive', () => {
    const text =
      'worker_shutdown_timeout 30s; http { keepalive_min_timeout 1s; server { keepalive_min_timeout 500ms; } }'
    expect(readSettings(main(text))).toMatchObject({
      workerShutdownTimeoutMs: 30_000,
      keepaliveMinTimeoutMs: 1000,
    })
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
    ['listen 443 quic; listen 443 ssl http2;', ['*:443 tls']],
    ['listen 80 proxy_protocol;', []],
  ])('server { %s }', (inside, listens) => {
    const found = readSettings(main(`http { server { ${inside} } }`)).listens
    expect(found.map(({ address, port, tls }) => `${address}:${port}${tls ? ' tls' : ''}`)).toEqual(listens)
  })

  test('the default is the server that says so, else the first of an address and port', () => {
    const text = `http {
      server { listen 80; server_name a; } server { listen 0.0.0.0:80; server_name b c; server_name d; }
      server { listen 81; server_name e; } server { listen 81 default_server; server_name f; }
    }
    stream { server { listen 80; } }`
    expect(readSettings(main(text)).listens.map(({ names, isDefault }) => [...names, isDefault])).toEqual([
      ['a', true],
      ['b', 'c', 'd', false],
      ['e', false],
      ['f', true],
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
    ['location / { proxy_pass http://app10:3000; }', undefined],
    ['location / { proxy_pass http://app1$n:3000; }', undefined],
    ['location / { proxy_pass http://unix:/app1; }', undefined],
    ['location / { proxy_set_header Host app1; }', undefined],
    ['upstream app1 { server x; } server { proxy_pass http://app1; }', undefined],
    ['upstream apps { server app1:1; }', undefined],
  ])('http { %s } uses app1: %s', (inside, use) => {
    const uses = readSettings(main(`http {\n${inside}\n}`)).otherUses('app1', 'apps')
    expect(uses).toEqual(use === undefined ? [] : [`${MAIN}:2 ${use}`])
  })
})
