// The Compose port: the real `docker compose`, so that its own config hash stays true and a manual `up` finds nothing to do.

import type { Compose, HostPorts } from '../../ports.ts'
import { Cli } from './cli.ts'
import { Models } from './model.ts'
import { endOrphans } from './orphans.ts'
import { runOneOff } from './run.ts'
import { up } from './up.ts'

export function composeCli(ports: Pick<HostPorts, 'engine' | 'clock'>): Compose {
  const cli = new Cli(ports.engine)
  const models = new Models(cli)
  return {
    model: (stack, replaced, signal) => models.read(stack, replaced, signal),
    hashes: (stack, signal) => models.hashes(stack, signal),
    up: (stack, service, signal, options = {}) => up({ cli, models, ports }, stack, service, options, signal),
    run: (stack, service, options, signal) => runOneOff(cli, stack, service, options, signal),
    endOrphans,
  }
}
