// Docker Swarm as its users set it up for this: two replicas, start-first, nginx asking Docker's DNS for them every second.

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Docker from 'dockerode'
import { docker, seedNginxConf, until } from '../support/stack.ts'
import type { Contender } from './compose-contenders.ts'
import { atEnd } from './lifetime.ts'

const execute = promisify(execFile)
const SCRIPT = join(import.meta.dirname, 'swarm.sh')
const HEALTH = `node -e "fetch('http://127.0.0.1:3000').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"`

/** One contender without a healthcheck, one with Docker's own every second. Throws where Swarm cannot work. */
export async function swarmContenders(): Promise<Contender[]> {
  atEnd(() => execute('bash', [SCRIPT, 'stop']))
  const { stdout } = await execute('bash', [SCRIPT, 'start'])
  const [host = '', pid] = stdout.trim().split(' ')
  const swarm = (...args: string[]) => docker('-H', host, ...args)
  const engine = new Docker({ socketPath: host.replace('unix://', '') })

  const folder = await mkdtemp('/tmp/ropeway-bench-swarm-')
  atEnd(() => rm(folder, { recursive: true, force: true }))
  await swarm('network', 'create', '-d', 'overlay', 'bench')

  const start = async (name: string, label: string, health: string[]): Promise<Contender> => {
    const quiet = ['service', 'create', '--quiet', '--network', 'bench', '--no-resolve-image']
    const update = ['--update-order', 'start-first', '--update-monitor', '1s', '--update-delay', '0s']
    const app = ['--name', name, '--replicas', '2', '--endpoint-mode', 'dnsrr', '--env', 'MESSAGE=v0']
    await swarm(...quiet, ...app, ...update, ...health, 'ropeway-test-app:v1')
    const conf = join(folder, `${name}.conf`)
    await writeFile(conf, nginxConf(await seedNginxConf(), name))
    const mount = ['--mount', `type=bind,source=${conf},target=/etc/nginx/nginx.conf,readonly`]
    await swarm(...quiet, '--name', `${name}-nginx`, ...mount, 'nginx:1.30')
    const ip = await gatewayAddress(swarm, `${name}-nginx`)
    const within = Number(pid)
    const ask = async () => {
      const argv = ['-t', String(within), '-n', '--', process.execPath, '-e', ASK, `http://${ip}/`]
      return (await execute('nsenter', argv)).stdout.trim().split(' ').at(-1)
    }
    return {
      name: label,
      isUnderLoad: true,
      target: { ip, within },
      async run(version) {
        const startedAt = performance.now()
        await swarm('service', 'update', '--detach', '--quiet', '--env-add', `MESSAGE=${version}`, name)
        await until(async () => {
          const { UpdateStatus } = (await engine.getService(name).inspect()) as {
            UpdateStatus?: { State: string; Message: string }
          }
          if (UpdateStatus?.State === 'paused') throw new Error(UpdateStatus.Message)
          return UpdateStatus?.State === 'completed'
        }, `Swarm has completed the update of ${name}`)
        return { ms: performance.now() - startedAt }
      },
      settle: (version) => until(async () => (await ask()) === version, `${name} answers with ${version}`),
    }
  }
  const every = ['--health-cmd', HEALTH, '--health-interval', '1s', '--health-retries', '3']
  return [
    await start('plain', 'Docker Swarm, `start-first`', []),
    await start('checked', 'Docker Swarm, `start-first`, healthcheck every 1 s', every),
  ]
}

const ASK = `console.log(await (await fetch(process.argv[1])).text())`

// What Docker's DNS says now, at most a second old, for as long as nginx runs.
function nginxConf(seed: string, service: string): string {
  return seed.replace(
    /upstream apps \{[^}]*\}/,
    `resolver 127.0.0.11 valid=1s;
    upstream apps {
        zone apps 64k;
        server ${service}:3000 resolve;
    }`,
  )
}

// A task's address that its host reaches: on the gateway network, not on the overlay.
async function gatewayAddress(
  swarm: (...args: string[]) => Promise<string>,
  service: string,
): Promise<string> {
  let ip: string | undefined
  await until(async () => {
    const id = await swarm('ps', '--no-trunc', '-q', '--filter', `name=${service}.1.`)
    const containers = JSON.parse(
      await swarm('network', 'inspect', '-f', '{{json .Containers}}', 'docker_gwbridge'),
    ) as Record<string, { IPv4Address: string }>
    ip = containers[id]?.IPv4Address.split('/')[0]
    return ip !== undefined
  }, `${service} has an address`)
  return ip ?? ''
}
