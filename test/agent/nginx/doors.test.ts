import { describe, expect, test } from 'vitest'
import { approachOf, type Door } from '../../../agent/nginx/doors.ts'
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
    ['grpc_pass grpc://apps;', 'tcp'],
    ['fastcgi_pass apps;', 'tcp'],
    ['uwsgi_pass apps;', 'tcp'],
  ])('%s speaks %s', (pass, speaks) => {
    expect(approach(`server { location / { ${pass} } }`).speaks).toBe(speaks)
  })

  test('a stream speaks what nobody knows, and has no door', () => {
    const files = main(`stream { ${UPSTREAM} server { listen 5432; proxy_pass apps; } }`)
    expect(approachOf(files, 'apps')).toMatchObject({ speaks: 'tcp', doors: [] })
  })
})

const to = (location: string, rest = 'server_name a.example;', listen = 'listen 80;') =>
  `server { ${listen} ${rest} location ${location} { proxy_pass http://apps; } }`
const asked = (...locations: string[]) => {
  const blocks = locations.map((location) => `location ${location} { proxy_pass http://apps; }`)
  return approach(`server { ${blocks.join(' ')} }`).doors.map(({ path }) => path)
}

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
    const taken = 'location = /up { return 200; } location /static/ { root /; }'
    const doors = (path: string) =>
      approach(`server { ${taken} location / { proxy_pass http://apps; } }`, { path }).doors.map(
        ({ path: at }) => at,
      )
    expect(['/ready', '/up', '/static/x'].map(doors)).toEqual([['/ready'], ['/'], ['/']])
  })

  test('no single page is asked for where a whole folder leads there too', () => {
    expect(asked('= /cron/run', '/api/', '/')).toEqual(['/', '/api/'])
    expect(asked('= /cron/run', '/api/')).toEqual(['/api/'])
    expect(asked('= /')).toEqual(['/'])
    expect(asked('= /up')).toEqual(['/up'])
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
])('the Host that the apps may see, with %j', (header, hosts) => {
  expect(
    approach(`server { server_name a.example; location / { ${header} proxy_pass http://apps; } }`).hosts,
  ).toEqual(hosts)
})
