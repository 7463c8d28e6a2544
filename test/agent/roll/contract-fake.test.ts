// The fake world does for the agent what the real one does.

import { basename } from 'node:path'
import { testPorts } from '../../contract/ports.ts'
import { FakeWorld } from '../../support/fake-world.ts'
import { fakeImage } from '../../support/world/images.ts'

testPorts(async () => {
  const world = new FakeWorld({ image: 'hello:v1', requestMs: 0 })
  return {
    ports: world.ports,
    stack: world.stack,
    project: 'hello',
    nginxPath: '/srv/hello/proxy/nginx.conf',
    run: (work) => world.run(work),
    inode: async (path) => world.files.inode(path),
    link: async (path, target) => world.files.link(path, target),
    leaveHalf: async (path) => {
      await world.files.write(path, 'half of it', 'rename', 'utf-8', 0.5)
    },
    hasHalf: async (path) =>
      world.files.paths('/srv/hello').some((one) => one.endsWith(`.${basename(path)}.ropeway-new`)),
    pushed: async () => {
      const [digest = ''] = world.images.push('ghcr.io/acme/other:v1', fakeImage('other')).digests
      return { ref: 'ghcr.io/acme/other:v1', digest: digest.replace(/^.*@/, '') }
    },
    hold: async (ms) => {
      for (const service of ['app1', 'app2']) world.traffic.hold(service, ms)
    },
    remove: async () => {},
  }
})
