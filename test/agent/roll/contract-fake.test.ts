// The fake world does for the agent what the real one does.

import { testPorts } from '../../contract/ports.ts'
import { FakeWorld } from '../../support/fake-world.ts'

testPorts(async () => {
  const world = new FakeWorld({ image: 'hello:v1', requestMs: 0 })
  return {
    ports: world.ports,
    stack: world.stack,
    project: 'hello',
    nginxPath: '/srv/hello/proxy/nginx.conf',
    run: (work) => world.run(work),
    inode: async (path) => world.files.inode(path),
    hold: async (ms) => {
      for (const service of ['app1', 'app2']) world.traffic.hold(service, ms)
    },
    remove: async () => {},
  }
})
