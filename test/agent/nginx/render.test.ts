// The text of nginx's file by a route.

import { expect, test } from 'vitest'
import { render } from '../../../agent/nginx/render.ts'
import type { NginxSeen } from '../../../agent/nginx/seen.ts'
import { AS_WRITTEN, type Route } from '../../../shared/plan.ts'

const TEXT = `upstream apps {
  server app1:3000;
  server app2:3000 weight=2;
  server app3:3000;
}
`
const serverAt = (address: string) => ({ address }) as NginxSeen['servers'][string][number]
const seen = {
  file: { hostPath: '/srv/nginx.conf', path: '/etc/nginx/nginx.conf', text: TEXT, how: 'in-place' as const },
  upstream: { name: 'apps' },
  servers: Object.fromEntries(['app1', 'app2', 'app3'].map((name) => [name, [serverAt(`${name}:3000`)]])),
}
const without = (...out: string[]): Route => ({ kind: 'members', serving: [], out })
const none = new Set<string>()

test('as written, it is the user’s own, whoever resolves to nothing', () => {
  expect(render(seen, AS_WRITTEN, none)).toBe(TEXT)
  expect(render(seen, AS_WRITTEN, new Set(['app1']))).toBe(TEXT)
  expect(render(seen, without(), new Set(['app1']))).toBe(TEXT)
})

test('a member that is out is down, and the others are forgiven a failure', () => {
  expect(render(seen, without('app2'), none)).toBe(`upstream apps {
  server app1:3000 max_fails=0;
  server app2:3000 weight=2 down;
  server app3:3000 max_fails=0;
}
`)
})

test('while one is out, so is whoever resolves to nothing, at an address that resolves', () => {
  expect(render(seen, without('app2'), new Set(['app3']))).toBe(`upstream apps {
  server app1:3000 max_fails=0;
  server app2:3000 weight=2 down;
  server 127.0.0.1:1 down;
}
`)
})

test('a name that is no member takes nobody out', () => {
  expect(render(seen, without('web'), none)).toBe(TEXT)
})
