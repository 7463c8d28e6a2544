import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { editUpstream, findUpstreams } from '../../../../agent/nginx/config/upstream.ts'
import { MAIN, main, seed } from './files.ts'

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
    ['app$n:80', '', 0],
    ['unix:80', '', 0],
  ])('server %s is host %j and port %d', (address, host, port) => {
    expect(findUpstreams(main(`upstream a { server ${address}; }`))[0]?.servers[0]).toMatchObject({
      host,
      port,
    })
  })

  test('a file is where its own path is included, and not one that only ends alike', () => {
    const files = main('stream { include /b.conf; } http { include /a/b.conf; }', {
      path: '/a/b.conf',
      text: 'upstream a { server b; }',
    })
    expect(findUpstreams(files).map(({ context }) => context)).toEqual(['http'])
  })

  test('parameters are words, not text', () => {
    const text =
      'upstream a { server down; server b:1 # down\n backup; server c:1 "down"; server d:1 downs; }'
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
    ['named, but not included', 'stream { load conf.d/a.conf; }', ['http', 'http']],
  ])('an upstream in another file, %s', (_, text, contexts) => {
    expect(findUpstreams(main(text, inHttp, inStream)).map(({ context }) => context)).toEqual(contexts)
  })

  test('files that include themselves, or each other, end', () => {
    expect(findUpstreams(main(`include nginx.conf; http { upstream a {} }`))).toHaveLength(1)
    const a = { path: '/etc/nginx/a', text: 'include b; upstream a {}' }
    const b = { path: '/etc/nginx/b', text: 'include a; upstream b {}' }
    expect(findUpstreams(main('http { include a; }', a, b)).map(({ name }) => name)).toEqual(['b', 'a'])
  })

  test('words that are missing, and files', () => {
    expect(findUpstreams([])).toEqual([])
    expect(findUpstreams(main('include; upstream { server; }'))).toMatchObject([
      { name: '', servers: [{ address: '', host: '', port: 0, isDown: false }] },
    ])
    expect(editUpstream('upstream {} upstream a { server; server x; }', 'a', out('x'))).toBe(
      'upstream {} upstream a { server max_fails=0; server x down; }',
    )
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

  test('another upstream is left alone, and what else has its name', () => {
    const others = 'upstream b{server x;server y;}location a{server x;}'
    expect(editUpstream(`http{${others}upstream a{server x;}}`, 'a', out('x'))).toBe(
      `http{${others}upstream a{server x down;}}`,
    )
  })

  test.each([[''], ['upstream b {}'], ['# upstream a {}'], ['upstream a;']])(
    '%j has no upstream a',
    (text) => {
      expect(() => editUpstream(text, 'a', () => false)).toThrow(
        expect.objectContaining({
          code: 'upstream-unknown',
          message: 'there is no upstream a in the file to edit',
        }),
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
})
