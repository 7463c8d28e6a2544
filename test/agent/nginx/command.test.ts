// How nginx was started, by the title of its master process.

import { expect, test } from 'vitest'
import { commandOf, isMaster } from '../../../agent/nginx/command.ts'

const process = (title: string) => ({ pid: 1, parent: 0, title })

test.each([
  ['nginx -g daemon off;', ['nginx', '-g', 'daemon off;']],
  ['nginx', ['nginx']],
  ['/usr/sbin/nginx -c /cfg/nginx.conf', ['/usr/sbin/nginx', '-c', '/cfg/nginx.conf']],
  [
    '/usr/local/openresty/bin/openresty -p /srv/my site -g daemon off; pid /run/n.pid; -q -c conf/a.conf',
    [
      '/usr/local/openresty/bin/openresty',
      '-p',
      '/srv/my site',
      '-g',
      'daemon off; pid /run/n.pid;',
      '-c',
      'conf/a.conf',
    ],
  ],
  ['./objs/nginx -e /tmp/error.log -c a.conf', ['nginx', '-c', 'a.conf']],
  ['nginx stray -p /srv/a-b', ['nginx', '-p', '/srv/a-b']],
  ['nginx -c /srv/x -y /z', ['nginx', '-c', '/srv/x']],
  ['nginx -p /srv/-cx -c--odd.conf', ['nginx', '-p', '/srv/-cx -c--odd.conf']],
])('%s', (started, command) => {
  const master = process(`nginx: master process ${started}`)
  expect([isMaster(master), commandOf(master)]).toEqual([true, command])
})

test.each(['nginx: worker process', 'nginx: master', 'sh -c nginx: master process', 'nginx -T'])(
  '%s is no master',
  (title) => {
    expect(isMaster(process(title))).toBe(false)
  },
)

test('a master that has rewritten its title says nothing of its start', () => {
  expect(isMaster(process('nginx: master process'))).toBe(true)
  expect(commandOf(process('nginx: master process'))).toEqual(['nginx'])
})
