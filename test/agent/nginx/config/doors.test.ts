import { describe, expect, test } from 'vitest'
import { approachOf } from '../../../../agent/nginx/config/doors.ts'
import type { Door } from '../../../../agent/roll/gates/door.ts'
import { main, seed } from './files.ts'

const UPSTREAM = 'upstream apps { server app1:3000; server app2:3000; }'
const approach = (inside: string, options?: Parameters<typeof approachOf>[2]) =>
  approachOf(main(`http { ${UPSTREAM} ${inside} }`), 'apps', options)
const show = ({ address, port, tls, host, path }: Door) =>
  `${tls ? 'https' : 'http'} ${address}:${port} ${host}${path}`

test('the seed is asked at its port by its name, and the apps see that name', () => {
  const found = approachOf(main(seed), 'apps')
  expect({ ...found, doors: found.doors.map(show) }).toEqual({
    speaks: 'http',
    hosts: ['localhost'],
    doors: ['http *:80 localhost/'],
  })
})

describe('what nginx speaks to the upstream', () => {
  test.each([
    ['proxy_pass http://apps;', 'http'],
    ['proxy_pass https://apps/x;', 'https'],
    ['set $to https://apps; proxy_pass $to;', 'https'],
    ['set $to apps; proxy_pass https://${to}/x;', 'https'],
    ['set $to http://apps; proxy_pass $to;', 'http'],
    ['proxy_pass $nobody_knows;', 'http'],
    ['proxy_pass $nobody_knows/?from=https://a.example;', 'http'],
    ['set $other https://else; set $to http://apps; proxy_pass $to;', 'http'],
    ['set $scheme_of_app https; proxy_pass $scheme_of_app://apps;', 'https'],
    ['set $to apps/https:; proxy_pass http://${to};', 'http'],
    ['set $a_b apps; proxy_pass https://${a_b};', 'https'],
    ['grpc_pass grpc://apps;', 'tcp'],
    ['fastcgi_pass apps;', 'tcp'],
    ['uwsgi_pass apps;', 'tcp'],
  ])('%s speaks %s', (pass, speaks) => {
    expect(approach(`server { location / { ${pass} } }`).speaks).toBe(speaks)
  })

  test('a stream speaks what nobody knows, and has no door', () => {
    const files = main(`stream { ${UPSTREAM} server { listen 5432; proxy_pass apps; } }`)
    expect(approachOf(files, 'apps')).toMatchObject({ speaks: 'tcp', doors: [], hosts: ['apps'] })
  })

  test('one that is reached by both schemes is asked without TLS', () => {
    const both = 'location / { proxy_pass https://apps; } location /b { proxy_pass http://apps; }'
    expect(approach(`server { ${both} }`).speaks).toBe('http')
  })

  test('an upstream is named in any case, by any of the values of a variable', () => {
    const set = 'set $to http://b; if ($x) { set $to http://APPS; }'
    expect(approach(`server { location / { ${set} proxy_pass $to; } }`).doors).toHaveLength(1)
  })

  test('what passes to somebody else leads nowhere', () => {
    expect(approach('server { location / { proxy_pass http://b:1; } }')).toEqual({
      speaks: 'tcp',
      hosts: [],
      doors: [],
    })
  })
})

const to = (location: string, rest = 'server_name a.example;', listen = 'listen 80;') =>
  `server { ${listen} ${rest} location ${location} { proxy_pass http://apps; } }`
const asked = (...locations: string[]) => {
  const blocks = locations.map((location) => `location ${location} { proxy_pass http://apps; }`)
  return approach(`server { ${blocks.join(' ')} }`).doors.map(({ path }) => path)
}

const pathsIncluding = (at: string, text: string) => {
  const files = main(`http { ${UPSTREAM} server { ${at} } }`, { path: '/etc/nginx/more.conf', text })
  return approachOf(files, 'apps', { path: '/a/b' }).doors.map(({ path }) => path)
}

const pathsBeside = (location: string, path: string) => {
  const locations = `location ${location} { return 200; } location /a/ { proxy_pass http://apps; }`
  return approach(`server { ${locations} }`, { path }).doors.map((door) => door.path)
}

test.each([
  ['proxy_pass http://apps/$nobody_knows;', ['/']],
  ['set $to apps; proxy_pass http://$to;', ['/']],
  ['set $to apps; proxy_pass http://${to}:80/x;', ['/']],
  ['set $to app; proxy_pass http://${to}s;', ['/']],
  ['set $to b; if ($x) { set $to apps; } proxy_pass http://$to;', ['/']],
  ['set $other apps; set $to b; proxy_pass http://$to;', ['/', '/guess/']],
  ['sub_filter $to apps; proxy_pass http://$to;', ['/', '/guess/']],
  ['set $to apps; proxy_pass http://x$to;', ['/', '/guess/']],
  ['server_name apps; proxy_pass http://b:1;', ['/guess/']],
])('beside a pass that nobody knows, %s has the doors %j asked', (pass, paths) => {
  const guess = 'location /guess/ { proxy_pass $nobody_knows; } location /b/ { proxy_pass http://b:1; }'
  expect(approach(`server { location / { ${pass} } ${guess} }`).doors.map(({ path }) => path)).toEqual(paths)
})

const alone = (text: string) => {
  const found = approachOf([{ path: '/etc/nginx/conf.d/a.conf', text }], 'apps')
  return { ...found, doors: found.doors.map(show) }
}

describe('files that are read without those around them', () => {
  test('a site is asked as ever', () => {
    expect(alone(to('/', 'server_name a.example; proxy_set_header Host b.example;'))).toEqual({
      speaks: 'http',
      hosts: ['a.example', 'b.example'],
      doors: ['http *:80 a.example/'],
    })
  })

  test.each([
    ['proxy_pass https://apps;', 'https', ['apps']],
    ['location / { proxy_pass http://apps; }', 'http', ['apps']],
    ['proxy_set_header Host b.example; proxy_pass http://apps;', 'http', ['b.example']],
  ])('%s has no door without a server', (text, speaks, hosts) => {
    expect(alone(text)).toEqual({ speaks, hosts, doors: [] })
  })

  test('a directive that is not written to its end leads nowhere', () => {
    expect(alone('server { location / { proxy_pass; } }').doors).toEqual([])
  })
})

describe('where a request leads to the upstream', () => {
  test.each<[string, string, string[]]>([
    [
      'its own server alone',
      `server { return 444; } server { server_name b; location / { proxy_pass http://b:1; } } ${to('/')}`,
      ['http *:80 a.example/'],
    ],
    ['TLS', to('/', undefined, 'listen 443 ssl;'), ['https *:443 a.example/']],
    [
      'another address before a loopback one',
      to('/', undefined, 'listen 127.0.0.1:81; listen 82;'),
      ['http *:82 a.example/'],
    ],
    [
      'a loopback address where there is no other',
      to('/', undefined, 'listen 127.0.0.1:81;'),
      ['http 127.0.0.1:81 a.example/'],
    ],
    ['no listener that wants the PROXY protocol', to('/', undefined, 'listen 80 proxy_protocol;'), []],
    [
      'a name that a wildcard lets through',
      to('/', 'server_name *.a.example;'),
      ['http *:80 www.a.example/'],
    ],
    ['a name that a dot lets through', to('/', 'server_name .a.example;'), ['http *:80 a.example/']],
    ['a default server by any name', to('/', 'server_name _;'), ['http *:80 localhost/']],
    [
      'no server that is reached by no known name',
      `server { return 444; } ${to('/', 'server_name ~^x$;')}`,
      [],
    ],
    ['a prefix', to('/api/'), ['http *:80 a.example/api/']],
    ['one page', to('= /up'), ['http *:80 a.example/up']],
    ['a regular expression', to('~ \\\\.php$'), ['http *:80 a.example/index.php']],
    ['a named location', to('@app'), ['http *:80 a.example/']],
    ['a prefix before regular expressions', to('^~ /api/'), ['http *:80 a.example/api/']],
    ['a prefix with the sign of a modifier in it', to('/a=b/'), ['http *:80 a.example/a=b/']],
    [
      'a condition in a location',
      'server { server_name a.example; location /x/ { if ($a) { proxy_pass http://apps; } } }',
      ['http *:80 a.example/x/'],
    ],
    ['a regular expression of PHP in any case', to('~* \\\\.php$'), ['http *:80 a.example/index.php']],
    ['a regular expression in any case', to('~* ^/API'), []],
    ['a regular expression that / fits', to('~ ^/$'), ['http *:80 a.example/']],
    ['a regular expression that only PCRE knows', to('~ ^(?i)/$'), []],
    ['a location with blanks', to('"/a b/"'), ['http *:80 a.example/a%20b/']],
    ['a location with an escape', to('/a%20b/'), ['http *:80 a.example/a%20b/']],
    ['a name of another server', to('/') + 'server { server_name z; }', ['http *:80 a.example/']],
    [
      'names as written before those made up',
      to('/', 'server_name *.b c.example;'),
      ['http *:80 c.example/'],
    ],
    ['a name with a wildcard at its end', to('/', 'server_name shop.*;'), ['http *:80 shop.example/']],
    ['the same door once', `${to('/')} ${to('/')}`, ['http *:80 a.example/']],
    [
      'four doors at most',
      to('/a/') + to('/b/') + to('/c/') + to('/d/') + to('/e/'),
      [
        'http *:80 a.example/a/',
        'http *:80 a.example/b/',
        'http *:80 a.example/c/',
        'http *:80 a.example/d/',
      ],
    ],
    [
      'localhost, which is loopback too',
      to('/', undefined, 'listen localhost:81; listen 82;'),
      ['http *:82 a.example/'],
    ],
    [
      '::1, which is loopback too',
      to('/', undefined, 'listen [::1]:81; listen 82;'),
      ['http *:82 a.example/'],
    ],
    ['no internal location', 'server { location / { internal; proxy_pass http://apps; } }', []],
    [
      'a variable that may mean it',
      'server { server_name v; location / { set $to apps; proxy_pass http://$to; } }',
      ['http *:80 v/'],
    ],
  ])('%s', (_, inside, doors) => {
    expect(approach(inside).doors.map(show)).toEqual(doors)
  })

  test('the wanted path is asked for where no other location has it', () => {
    const others = 'root /srv; location @app { return 200; }'
    const taken = `${others} location = /up { return 200; } location /static/ { root /; }`
    const doors = (path: string) =>
      approach(`server { ${taken} location / { proxy_pass http://apps; } }`, { path }).doors.map(
        ({ path: at }) => at,
      )
    expect(['/ready', '/up', '/static/x'].map(doors)).toEqual([['/ready'], ['/'], ['/']])
    expect(approach(to('= /up'), { path: '/up/x' }).doors).toMatchObject([{ path: '/up' }])
    expect(['/srv/x', '/@app'].map(doors)).toEqual([['/srv/x'], ['/@app']])
  })

  test('locations and settings of included files count', () => {
    const location = 'location /a/ { include more.conf; proxy_pass http://apps; }'
    expect(pathsIncluding(`include more.conf; ${location}`, 'location /a/b { return 200; }')).toEqual(['/a/'])
    expect(pathsIncluding(location, 'internal;')).toEqual([])
  })

  test('no single page is asked for where a whole folder leads there too', () => {
    expect(asked('= /cron/run', '/api/', '/')).toEqual(['/', '/api/'])
    expect(asked('= /cron/run', '/api/')).toEqual(['/api/'])
    expect(asked('= /')).toEqual(['/'])
    expect(asked('= /up')).toEqual(['/up'])
  })

  test('a longer prefix, a page and a regular expression beside it take a path away', () => {
    expect(pathsBeside('/a/b/', '/a/b/c')).toEqual(['/a/'])
    expect(pathsBeside('/a/b/', '/a/c')).toEqual(['/a/c'])
    expect(pathsBeside('/', '/a/c')).toEqual(['/a/c'])
    expect(pathsBeside('= /a/c', '/a/c')).toEqual(['/a/'])
    expect(pathsBeside('~ c$', '/a/c')).toEqual(['/a/'])
  })

  test.each([
    ['*.a.example', 'x.a.example', 'x.a.example'],
    ['*.a.example', 'a.example', 'www.a.example'],
    ['.a.example', 'a.example', 'a.example'],
    ['.a.example', 'x.a.example', 'x.a.example'],
    ['a.example', 'a.example', 'a.example'],
    ['a.example', 'xa.example', 'a.example'],
    ['b.example a.example', 'a.example', 'a.example'],
    ['b.example .a.example', 'a.example', 'a.example'],
  ])('at the server %s the host %s is asked as %s', (names, host, as) => {
    const servers = `server { return 444; } ${to('/', `server_name ${names};`)}`
    expect(approach(servers, { host }).doors.map((door) => door.host)).toEqual([as])
  })

  test('a default server is asked by any host', () => {
    expect(approach(to('/'), { host: 'z.example' }).doors.map(({ host }) => host)).toEqual(['z.example'])
  })

  test('a host that is given is asked for where it is served', () => {
    const servers = to('/', 'server_name *.a.example;') + to('/', 'server_name b.example;')
    expect(approach(servers, { host: 'x.a.example' })).toMatchObject({
      hosts: ['x.a.example'],
      doors: [{ host: 'x.a.example' }, { host: 'b.example' }],
    })
  })
})

test.each([
  ['proxy_set_header Host $host;', ['a.example']],
  ['proxy_set_header Host fixed.example;', ['a.example', 'fixed.example']],
  ['', ['a.example', 'apps']],
  ['proxy_set_header Host $proxy_host;', ['a.example', 'apps']],
  ['proxy_set_header X-Real-IP $remote_addr;', ['a.example', 'apps']],
  [
    'proxy_set_header X-A b; proxy_set_header host fixed.example; proxy_set_header X-C d;',
    ['a.example', 'fixed.example'],
  ],
])('the Host that the apps may see, with %j', (header, hosts) => {
  expect(
    approach(`server { server_name a.example; location / { ${header} proxy_pass http://apps; } }`).hosts,
  ).toEqual(hosts)
})

test('names and headers of other servers and locations are not for the apps to see', () => {
  const other = 'server_name b.example; location / { proxy_set_header Host c.example; }'
  const beside = 'location /b/ { proxy_set_header Host d.example; proxy_pass http://b:1; }'
  const servers = `server { ${other} } ${to('/', `server_name a.example; ${beside}`)}`
  expect(approach(servers).hosts).toEqual(['a.example', 'apps'])
})

const hostsBy = (http: string, server: string, location: string) => {
  const inServer = `${server} location / { ${location} proxy_pass http://apps; }`
  const other = 'server { proxy_set_header Host other; }'
  return approachOf(main(`http { ${UPSTREAM} ${http} server { ${inServer} } ${other} }`), 'apps').hosts
}

test('headers count where the innermost block sets any', () => {
  const [h, s, l] = ['h', 's', 'l'].map((host) => `proxy_set_header Host ${host};`)
  expect(hostsBy(h ?? '', '', '')).toEqual(['h'])
  expect(hostsBy(h ?? '', s ?? '', '')).toEqual(['s'])
  expect(hostsBy(h ?? '', s ?? '', l ?? '')).toEqual(['l'])
  expect(hostsBy(h ?? '', '', 'proxy_set_header X-A b;')).toEqual(['apps'])
})
