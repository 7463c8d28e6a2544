// A Docker engine of a test's own, that it may stop and start: as test/machine starts its engines, beside them and away from everybody's
// data, networks and firewall rules. Takes root.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { docker, until } from '../../support/stack.ts'

const execute = promisify(execFile)
/** Beside those of test/machine, 10.218 and 10.219. One such engine at a time. */
const SUBNET = '10.217'
const BRIDGE = 'ropeway-own'
/** Where the engines of test/machine have their data: overlays need a disk of the machine's own. */
const STATE = '/var/lib/ropeway-test/own-'
/** The tmpfs by which its processes are known, and their cgroup. */
const MARK = 'ropeway-test-own'
/** A start takes two seconds, on a machine that is busy many more. */
const START_MS_MAX = 60_000
const STOP_MS_MAX = 60_000

export interface OwnEngine {
  readonly host: string
  start(): Promise<void>
  /** As an engine is restarted: asked to end. Its containers die with it, for live-restore is off. */
  stop(): Promise<void>
  /** Images of the engine that the tests run on. */
  load(images: readonly string[]): Promise<void>
  remove(): Promise<void>
}

/** Ends what an abruptly ended run has left. At each start it sees what is mounted on the machine then. */
export async function ownEngine(): Promise<OwnEngine> {
  await endLeft()
  const folder = await mkdtemp(STATE)
  // A socket's path has a limit of its own.
  const socket = join(folder, 'docker.sock')
  const host = `unix://${socket}`
  await mkdir('/run/containerd', { recursive: true })
  await mkdir(join(folder, 'data'))
  await writeFile(join(folder, 'daemon.json'), '{}')
  await execute('ip', ['link', 'delete', BRIDGE]).catch(() => {})
  await execute('ip', ['link', 'add', 'name', BRIDGE, 'type', 'bridge'])
  await execute('ip', ['addr', 'add', `${SUBNET}.0.1/24`, 'dev', BRIDGE])
  await execute('ip', ['link', 'set', BRIDGE, 'up'])
  let daemon: ChildProcess | undefined
  let said = ''

  const answers = async () => (await docker('-H', host, 'version', '--format', '{{.Server.Version}}')) !== ''
  const stop = async () => {
    if (!daemon) return
    const ended = once(daemon, 'exit')
    if (daemon.exitCode === null) {
      daemon.kill('SIGTERM')
      const timer = setTimeout(() => daemon?.kill('SIGKILL'), STOP_MS_MAX)
      await ended
      clearTimeout(timer)
    }
    daemon = undefined
  }
  return {
    host,
    async start() {
      // In a mount namespace of its own, where a tmpfs hides the machine's containerd.
      const script = `mount -t tmpfs ${MARK} /run/containerd && exec dockerd "$@"`
      const options = {
        'config-file': join(folder, 'daemon.json'),
        'data-root': join(folder, 'data'),
        'exec-root': join(folder, 'exec'),
        pidfile: join(folder, 'docker.pid'),
        host,
        bridge: BRIDGE,
        'default-address-pool': `base=${SUBNET}.128.0/17,size=24`,
        iptables: 'false',
        ip6tables: 'false',
        'exec-opt': 'native.cgroupdriver=cgroupfs',
        'cgroup-parent': `/${MARK}`,
      }
      const args = Object.entries(options).map(([key, value]) => `--${key}=${value}`)
      daemon = spawn(
        'unshare',
        ['--mount', '--propagation', 'slave', 'sh', '-c', script, 'own-engine', ...args],
        { detached: true, stdio: ['ignore', 'ignore', 'pipe'] },
      )
      const { stderr } = daemon
      stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-20_000)))
      try {
        await until(answers, 'an engine of the test answers', START_MS_MAX)
      } catch (error) {
        throw new Error(`the engine said\n${said}`, { cause: error })
      }
    },
    stop,
    async load(images) {
      const archive = join(folder, 'images.tar')
      await docker('save', '-o', archive, ...images)
      await docker('-H', host, 'load', '-q', '-i', archive)
      await rm(archive)
    },
    async remove() {
      await stop()
      // A container that it was just starting outlives it.
      await endMembers()
      await execute('ip', ['link', 'delete', BRIDGE]).catch(() => {})
      await removeBridges()
      await execute('find', [
        '/sys/fs/cgroup',
        '-depth',
        '-type',
        'd',
        '-path',
        `*/${MARK}*`,
        '-exec',
        'rmdir',
        '{}',
        '+',
      ]).catch(() => {})
      await rm(folder, { recursive: true, force: true })
    },
  }
}

// By the mark that each start sets. Its mounts are its own and go with it.
async function endMembers(): Promise<void> {
  const mark = ` - tmpfs ${MARK} `
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)))
    if ((await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '')).includes(mark))
      process.kill(Number(pid), 'SIGKILL')
}

async function endLeft(): Promise<void> {
  await endMembers()
  await removeBridges()
  for (const name of await readdir(dirname(STATE)))
    if (name.startsWith(basename(STATE)))
      await rm(join(dirname(STATE), name), { recursive: true, force: true })
}

// Those of networks that nobody has removed: a test that failed leaves them.
async function removeBridges(): Promise<void> {
  const { stdout } = await execute('ip', ['-o', '-4', 'addr', 'show'])
  for (const line of stdout.split('\n')) {
    const [, name, , address] = line.split(/\s+/)
    if (name && address?.startsWith(`${SUBNET}.`))
      await execute('ip', ['link', 'delete', name]).catch(() => {})
  }
}
