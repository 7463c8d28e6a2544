// What a person would look at after a crash: containers, both files, what nginx has loaded and who answers. Nothing here judges.

import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import Docker from 'dockerode'
import type { Stack } from '../../support/stack.ts'

const ANSWERS = 8
/** The kernel counts a process's age in these. */
const TICK_MS = 10

export interface SeenContainer {
  readonly name: string
  readonly service: string
  readonly state: string
  readonly imageId: string
  readonly env: readonly string[]
  /** compose's hash of what the container was made from. */
  readonly hash: string
}

export interface Seen {
  readonly project: string
  readonly containers: readonly SeenContainer[]
  /** compose's hash of what the files say today, by service. */
  readonly hashes: Readonly<Record<string, string>>
  readonly compose: string
  readonly nginx: string
  /** The same file as nginx sees it. */
  readonly nginxInside: string
  /** When it was last written, and when nginx's newest worker began; milliseconds since 1970. */
  readonly nginxWrittenAt: number
  readonly nginxLoadedAt: number
  /** All that lies in the folders of both files. */
  readonly files: readonly string[]
  readonly answers: readonly string[]
}

/** By DOCKER_HOST, which a test may have set. */
export const engine = () => new Docker()

export async function look(stack: Stack): Promise<Seen> {
  const [containers, hashes, compose, nginx, files] = await Promise.all([
    containersOf(stack.project),
    stack.compose('config', '--hash', '*'),
    stack.read('docker-compose.yml'),
    stack.read('proxy/nginx.conf'),
    readdir(stack.folder, { recursive: true }),
  ])
  const master = containers.find(({ service }) => service === 'nginx')?.pid ?? 0
  return {
    project: stack.project,
    containers,
    hashes: Object.fromEntries(hashes.split('\n').map((line) => line.split(' '))),
    compose,
    nginx,
    nginxInside: await readFile(`/proc/${master}/root/etc/nginx/nginx.conf`, 'utf8'),
    nginxWrittenAt: (await stat(join(stack.folder, 'proxy/nginx.conf'))).mtimeMs,
    nginxLoadedAt: Math.max(...(await workerStarts(master))),
    files: files.toSorted(),
    answers: await stack.answers(ANSWERS).catch((error: unknown) => [String(error)]),
  }
}

async function containersOf(project: string) {
  const filters = { label: [`com.docker.compose.project=${project}`] }
  const listed = await engine().listContainers({ all: true, filters })
  const inspected = await Promise.all(listed.map(({ Id }) => engine().getContainer(Id).inspect()))
  return inspected.map(({ Name, State, Image, Config }) => ({
    name: Name.slice(1),
    service: Config.Labels['com.docker.compose.service'] ?? '',
    state: State.Status,
    imageId: Image,
    env: Config.Env,
    hash: Config.Labels['com.docker.compose.config-hash'] ?? '',
    pid: State.Pid,
  }))
}

// Those that are told to quit count not: they began before.
async function workerStarts(master: number): Promise<number[]> {
  const children = (await readFile(`/proc/${master}/task/${master}/children`, 'utf8')).trim().split(' ')
  const [uptime = ''] = (await readFile('/proc/uptime', 'utf8')).split(' ')
  const bootedAt = Date.now() - Number(uptime) * 1000
  const starts = children.map(async (pid) => {
    const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    // The 22nd field; the second is a name in parentheses, which may hold anything.
    const ticks = line.slice(line.lastIndexOf(')') + 2).split(' ')[19]
    return ticks === undefined ? 0 : bootedAt + Number(ticks) * TICK_MS
  })
  return await Promise.all(starts)
}

/** The command lines of what still runs in a process group. */
export async function commandsOf(group: number): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const commands = pids.map(async (pid) => {
    // A process may end while it is looked at.
    const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const [state, , pgrp] = line.slice(line.lastIndexOf(')') + 2).split(' ')
    if (state === 'Z' || Number(pgrp) !== group) return []
    return [(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ').trim()]
  })
  return (await Promise.all(commands)).flat()
}
