// Rolls of two instances side by side: how long each way takes, and how many requests it loses.
// node test/bench/rolls.ts [--rounds N] [--loads keepalive,posts] [--no-swarm]

import { parseArgs } from 'node:util'
import { buildApp } from '../support/stack.ts'
import { composeContenders, type Contender, type Outcome } from './compose-contenders.ts'
import { bench, say } from './lifetime.ts'
import { LOADS, under, type LoadName, type Suffered } from './load.ts'
import { median, millis, printTable, printText, seconds, spread, sum } from './report.ts'
import { swarmContenders } from './swarm-contender.ts'

/** What the issue asks for: a roll takes at most so many times the two bare calls and the apps' own start. */
const RATIO_MAX = 1.25

interface Run {
  readonly round: number
  readonly contender: string
  readonly load: LoadName
  readonly outcome: Outcome
  readonly suffered: Suffered | undefined
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    loads: { type: 'string', default: 'keepalive,posts' },
    swarm: { type: 'boolean', default: true },
  },
  allowNegative: true,
})
const rounds = Number(values.rounds)
// Without load always: the floor is measured there.
const loads = [
  'none',
  ...values.loads.split(',').filter((name) => name in LOADS && name !== 'none'),
] as LoadName[]

await bench(async () => {
  say('building the app')
  await buildApp()
  const contenders = await composeContenders()
  if (values.swarm)
    contenders.push(
      ...(await swarmContenders().catch((error: unknown) => {
        say(`Docker Swarm is left out: ${error instanceof Error ? error.message : String(error)}`)
        return []
      })),
    )

  const runs: Run[] = []
  let count = 0
  const measure = async (contender: Contender, load: LoadName, round: number): Promise<Run> => {
    count += 1
    const version = `v${count}`
    const { result, suffered } = await under(load, contender.target, () => contender.run(version))
    await contender.settle(version)
    return { round, contender: contender.name, load, outcome: result, suffered }
  }
  for (const contender of contenders) await measure(contender, 'none', -1)
  for (let round = 0; round < rounds; round += 1)
    for (const load of loads)
      for (const contender of rotated(contenders, round)) {
        if (load !== 'none' && !contender.isUnderLoad) continue
        const run = await measure(contender, load, round)
        runs.push(run)
        say(`round ${round + 1}, ${load}, ${contender.name}: ${describe(run)}`)
      }
  report(
    contenders.map(({ name }) => name),
    runs,
  )
})

// Each is first, second, … in some round: what warms up or wears off favours nobody.
function rotated<T>(items: readonly T[], by: number): T[] {
  return items.map((_, index) => items[(index + by) % items.length] as T)
}

function describe({ outcome, suffered }: Run): string {
  const time = seconds(outcome.ms)
  if (!suffered) return time
  return `${time}, ${suffered.failed} of ${suffered.requests} failed ${suffered.why.join('; ')}`
}

function report(names: readonly string[], runs: readonly Run[]): void {
  const of = (contender: string, load: LoadName) =>
    runs.filter((run) => run.contender === contender && run.load === load)
  printTable(
    `Roll of two instances (rounds: ${rounds}; median, from-to; ×: how often the two bare calls and the apps’ own start fit into it)`,
    [
      '',
      'no load',
      '×',
      '20 saturated keepalive connections',
      'failed',
      '40 POST/s of 1.5 s each',
      'of which waiting for requests to end',
      'failed',
    ],
    names.map((name) => {
      const waits = of(name, 'posts').map(({ outcome }) => outcome.waitedMs)
      return [
        name,
        spread(of(name, 'none').map(({ outcome }) => outcome.ms)),
        ratioOf(of(name, 'none'), runs).toFixed(2),
        ...underLoad(of(name, 'keepalive'), []),
        ...underLoad(of(name, 'posts'), [
          waits.includes(undefined) ? '–' : seconds(median(waits as number[])),
        ]),
      ]
    }),
  )
  const ours = runs.filter(({ contender }) => contender === names[0])
  conclude(ours, runs)
  reportSteps(ours)
}

// Within each round, so that a machine that becomes slower or faster changes both alike.
function ratioOf(
  quiet: readonly Run[],
  runs: readonly Run[],
  floorOf = ({ ms, appStartMs = 0 }: Outcome) => ms + appStartMs,
): number {
  return median(
    bareOf(runs).flatMap((bare) =>
      quiet
        .filter(({ round }) => round === bare.round)
        .map(({ outcome }) => outcome.ms / floorOf(bare.outcome)),
    ),
  )
}

function bareOf(runs: readonly Run[]): Run[] {
  return runs.filter(({ outcome }) => outcome.appStartMs !== undefined)
}

function conclude(ours: readonly Run[], runs: readonly Run[]): void {
  const bare = bareOf(runs).map(({ outcome }) => outcome)
  const [ups, starts, answered] = [
    median(bare.map(({ ms }) => ms)),
    median(bare.map(({ appStartMs = 0 }) => appStartMs)),
    median(bare.map(({ answeredMs = 0 }) => answeredMs)),
  ]
  const quiet = ours.filter(({ load }) => load === 'none')
  const ratio = ratioOf(quiet, runs)
  const failed = sum(ours.map(({ suffered }) => suffered?.failed ?? 0))
  const isMet = ratio <= RATIO_MAX && failed === 0
  printText(
    `Two bare calls take ${seconds(ups)}, the apps’ own start ${seconds(starts)} (two times from the container’s start to its first 200): ${seconds(ups + starts)}.`,
    `Ropeway takes ${seconds(median(quiet.map(({ outcome }) => outcome.ms)))}: ${ratio.toFixed(2)} × of it, with ${failed} failed requests. Goal: at most ${RATIO_MAX} ×, none failed: ${isMet ? 'met' : 'NOT MET'}.`,
    `Call, first 200, call, first 200 takes ${seconds(answered)}; Ropeway ${ratioOf(quiet, runs, ({ answeredMs = 0 }) => answeredMs).toFixed(2)} × of that.`,
    'Failed requests are counted from 0.5 s before to 1.5 s after, over all rounds; *on and on*: they still failed when the load ended.',
    'All but Swarm share one stack with the same nginx.conf (with keepalive_min_timeout). Swarm has an engine of its own in a network namespace, and its time is until the update is `completed`.',
  )
}

function underLoad(runs: readonly Run[], between: readonly string[]): string[] {
  if (runs.length === 0) return ['', ...between.map(() => ''), '']
  const suffered = runs.flatMap((run) => run.suffered ?? [])
  const failed = sum(suffered.map((one) => one.failed))
  const goesOn = suffered.some((one) => one.goesOn) ? ', on and on' : ''
  const requests = sum(suffered.map((one) => one.requests))
  return [
    spread(runs.map(({ outcome }) => outcome.ms)),
    ...between,
    `${failed === 0 ? '**0**' : failed} of ${requests}${goesOn}`,
  ]
}

function reportSteps(runs: readonly Run[]): void {
  const of = (load: LoadName) => runs.filter((run) => run.load === load).map(({ outcome }) => outcome)
  const labels = [...(runs[0]?.outcome.steps?.keys() ?? [])]
  printTable(
    'Where Ropeway’s time goes, by step (medians)',
    ['', ...loads],
    labels.map((label) => [
      label,
      ...loads.map((load) => millis(median(of(load).map(({ steps }) => steps?.get(label) ?? 0)))),
    ]),
  )
  const quiet = of('none')
  const calls = new Set(quiet.flatMap(({ times }) => [...(times?.keys() ?? [])]))
  const rows = [...calls].map((call) => {
    const each = quiet.map(({ times }) => times?.get(call) ?? { calls: 0, ms: 0 })
    return { call, calls: median(each.map((one) => one.calls)), ms: median(each.map(({ ms }) => ms)) }
  })
  printTable(
    'Where Ropeway’s time goes, by call of a port in one roll without load (medians; what runs at the same time counts each)',
    ['', 'calls', 'in all', 'share'],
    rows
      .toSorted((a, b) => b.ms - a.ms)
      .map(({ call, calls: times, ms }) => [
        `\`${call}\``,
        String(times),
        millis(ms),
        `${Math.round((100 * ms) / median(quiet.map((outcome) => outcome.ms)))} %`,
      ]),
  )
}
