import { expect, test } from 'vitest'
import { targetOf } from '../../../../agent/nginx/config/pass.ts'
import { directivesOf } from '../../../../agent/nginx/config/directives.ts'
import { main } from './files.ts'

test.each([
  ['conf.d/*.conf', '/etc/nginx/conf.d/a.conf', true],
  ['*.conf', '/etc/nginx/conf.d/a.conf', false],
  ['/x/*', '/y/x/a', false],
  ['conf.d/a.conf', '/etc/nginx/conf-d/a.conf', false],
  ['a?.conf', '/etc/nginx/a1.conf', true],
  ['a?.conf', '/etc/nginx/a.conf', false],
  ['[ab].conf', '/etc/nginx/b.conf', true],
  ['[!ab].conf', '/etc/nginx/b.conf', false],
  ['[!ab].conf', '/etc/nginx/c.conf', true],
  ['[\\d].conf', '/etc/nginx/5.conf', false],
])('include %s includes %s: %s', (pattern, path, expected) => {
  const places = directivesOf(main(`http { include ${pattern}; }`, { path, text: 'x;' }))
  const within = places.find(({ directive }) => directive.name === 'x')?.within
  expect(within?.map(({ name }) => name)).toEqual(expected ? ['http'] : [])
})

test.each([
  ['http://app1:3000/path', 'app1'],
  ['http://app1?x', 'app1'],
  ['app1:9000', 'app1'],
  ['app1', 'app1'],
  ['http://app1:3000$request_uri', 'app1'],
  ['http://[fd00::3]:80/', 'fd00::3'],
  ['http://app1:30x', ''],
  ['http://app1$n', ''],
  ['http://$host', ''],
  ['http://unix:/run/a.sock', ''],
])('%s passes to %j', (value, host) => {
  expect(targetOf(value)).toBe(host)
})
