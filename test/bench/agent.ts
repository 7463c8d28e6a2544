// The agent's process: how soon after its start it is connected, what it weighs, and what of it weighs how much.
// node test/bench/agent.ts [--rounds N]

import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { buildApp, startStack, type Stack } from '../support/stack.ts'
import { MAIN, startHost, startNode, type Host } from './host.ts'
import { atEnd, bench, say } from './lifetime.ts'
import { pause } from './load.ts'
import { median, millis, printTable, printText } from './report.ts'

const execute = promisify(execFile)
const ROOT = join(import.meta.dirname, '../..')
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })
const rounds = Number(values.rounds)
/** After it has connected: what the start needed is collected by then. */
const IDLE_MS = 10_000
const SAMPLE_MS = 20

interface Way {
  readonly name: string
  readonly main: string
  readonly env: NodeJS.ProcessEnv
}

await bench(async () => {
  say('building the app and the JavaScript that is published')
  await buildApp()
  const stack = await startStack()
  atEnd(() => stack.remove())
  const host = await startHost(join(stack.folder, 'docker-compose.yml'), stack.project)
  const built = await build()
  const cache = { NODE_COMPILE_CACHE: join(host.folder, 'cache') }
  const ways: Way[] = [
    { name: 'TypeScript, as in a checkout', main: MAIN, env: {} },
    { name: 'TypeScript, NODE_COMPILE_CACHE', main: MAIN, env: cache },
    { name: 'built JavaScript, as published', main: join(built, 'agent/main.js'), env: {} },
    {
      name: 'built JavaScript, NODE_COMPILE_CACHE',
      main: join(built, 'agent/main.js'),
      env: cache,
    },
  ]
  await reportAgent(ways, host, stack)
  await reportModules(built)
})

async function reportAgent(ways: readonly Way[], host: Host, stack: Stack): Promise<void> {
  const connected = new Map<Way, number[]>(ways.map((way) => [way, []]))
  // The first start of each fills its cache.
  for (let round = 0; round <= rounds; round += 1)
    for (const way of ways) {
      const agent = await startAgent(way, host)
      if (round > 0) connected.get(way)?.push(agent.readyMs)
      await agent.stop()
    }
  const rows: string[][] = []
  for (const [index, way] of ways.entries()) {
    say(`weighing: ${way.name}`)
    const agent = await startAgent(way, host)
    const pid = agent.child.pid ?? 0
    await pause(IDLE_MS)
    const idle = await memory(pid)
    const max = await memoryInRoll(pid, way, host, `v${index + 2}`)
    await agent.stop()
    const times = connected.get(way) ?? []
    rows.push([
      way.name,
      `${Math.round(median(times))} ms (${Math.round(Math.min(...times))}-${Math.round(Math.max(...times))})`,
      mebibytes(idle.VmRSS),
      mebibytes(idle.RssAnon),
      mebibytes(max),
    ])
  }
  printTable(
    `The agent’s process (start: median of ${rounds}, from-to; memory: resident, of one process each)`,
    ['', 'start to connected', `idle, ${IDLE_MS / 1000} s after`, 'of which its own', 'most in a roll'],
    rows,
  )
  printText(
    `The roll was of ${stack.project}’s two instances; the docker and compose commands that it runs are processes of their own. The rest of what is resident is the Node binary itself, shared among all that run it.`,
  )
}

function startAgent({ main, env }: Way, host: Host) {
  return startNode([main, 'agent', ...host.options], /^agent connected to /, { ...host.env, ...env })
}

async function memoryInRoll(pid: number, { main }: Way, host: Host, version: string): Promise<number> {
  const over = new AbortController()
  const deploy = execute(
    process.execPath,
    [main, 'deploy', 'hello', ...host.options, '--env', `MESSAGE={service},${version}`],
    { env: { ...process.env, ...host.env }, timeout: 120_000 },
  ).finally(() => over.abort())
  let max = 0
  while (!over.signal.aborted) {
    max = Math.max(max, (await memory(pid)).VmRSS)
    await pause(SAMPLE_MS)
  }
  await deploy
  return max
}

/** From /proc/PID/status, in KiB. */
async function memory(pid: number): Promise<{ VmRSS: number; RssAnon: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1])
  return { VmRSS: field('VmRSS'), RssAnon: field('RssAnon') }
}

function mebibytes(kib: number): string {
  return `${(kib / 1024).toFixed(1)} MiB`
}

// Into a folder of its own, laid out like an installed package, so that nobody's dist/ is touched.
async function build(): Promise<string> {
  const folder = await mkdtemp('/tmp/ropeway-bench-dist-')
  atEnd(() => rm(folder, { recursive: true, force: true }))
  const tsc = join(ROOT, 'node_modules/typescript/lib/tsc.js')
  const dist = join(folder, 'dist')
  await execute(process.execPath, [tsc, '-p', join(ROOT, 'test/tsconfig.build.json'), '--outDir', dist])
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  for (const file of ['package.json', 'wrangler.toml']) await cp(join(ROOT, file), join(folder, file))
  return dist
}

interface Weight {
  readonly ms: number
  readonly kib: number
}

// Each in a process of its own, which loads one thing more than nothing.
async function reportModules(built: string): Promise<void> {
  const folder = await mkdtemp('/tmp/ropeway-bench-modules-')
  atEnd(() => rm(folder, { recursive: true, force: true }))
  const trivial = join(folder, 'trivial.ts')
  await writeFile(trivial, 'export const one: number = 1\n')
  const local = createRequire(import.meta.url)
  const modules: [string, string | undefined][] = [
    ['Node alone', undefined],
    ['type stripping', urlOf(trivial)],
    ['node:sqlite', 'node:sqlite'],
    ...['ws', 'zod', 'yaml', 'jose', 'commander', 'dockerode'].map((name): [string, string] => [
      name,
      urlOf(local.resolve(name)),
    ]),
    ['the agent’s command in TypeScript, with all it imports', urlOf(join(ROOT, 'agent/cli/agent.ts'))],
    ['the same as built JavaScript', urlOf(join(built, 'agent/cli/agent.js'))],
  ]
  // In turns, so that what else the machine does meets all alike.
  const weights = modules.map((): Weight[] => [])
  for (let round = 0; round < rounds; round += 1)
    for (const [index, [, module]] of modules.entries()) weights[index]?.push(await weigh(module))
  const [bare = { ms: 0, kib: 0 }, ...loaded] = weights.map((list) => ({
    ms: median(list.map(({ ms }) => ms)),
    kib: median(list.map(({ kib }) => kib)),
  }))
  const rows = [[modules[0]?.[0] ?? '', millis(bare.ms), '', mebibytes(bare.kib), '']]
  for (const [index, { ms, kib }] of loaded.entries())
    rows.push([
      modules[index + 1]?.[0] ?? '',
      millis(ms),
      `${Math.round(ms - bare.ms)} ms`,
      mebibytes(kib),
      mebibytes(kib - bare.kib),
    ])
  printTable(
    `What weighs how much (a process that imports one thing and ends, medians of ${rounds})`,
    ['', 'time', 'more than Node alone', 'resident', 'more than Node alone'],
    rows,
  )
}

function urlOf(path: string): string {
  return pathToFileURL(path).href
}

async function weigh(module: string | undefined): Promise<Weight> {
  const code = `${module === undefined ? '' : `await import(${JSON.stringify(module)})`}
const { readFileSync } = await import('node:fs')
console.log(/^VmRSS:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1])
process.exit()`
  const startedAt = performance.now()
  const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', code])
  return { ms: performance.now() - startedAt, kib: Number(stdout) }
}
