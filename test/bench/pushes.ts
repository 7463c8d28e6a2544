// From `docker push` to its version serving everywhere, on a real private registry, and where the time goes.
// node test/bench/pushes.ts [--rounds N]

import { parseArgs } from 'node:util'
import { finalOf, stepsOf } from '../support/ropeway.ts'
import { startPushStack } from '../support/push-stack.ts'
import { buildApp, until } from '../support/stack.ts'
import { atEnd, bench, say } from './lifetime.ts'
import { pause } from './load.ts'
import { printTable, printText, spread } from './report.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } })
const rounds = Number(values.rounds)
const SETTLE_MS = 500
/** How often it is asked which version serves. */
const ASK_MS = 10

const PARTS = [
  'push returned -> the registry tells',
  'the registry tells -> the hook is answered',
  'answered -> the agent has it (settle 0.5 s)',
  'the agent has it -> pulled',
  'pulled -> every instance serves it',
  'all: push returned -> every instance serves it',
] as const

await bench(async () => {
  await buildApp()
  const scene = await startPushStack({ tags: 'v*', settle: `${SETTLE_MS}ms` })
  atEnd(() => scene.stop())
  const { ropeway, stack, notifications } = scene
  const times = new Map<string, number[]>(PARTS.map((part) => [part, []]))
  for (let round = 0; round < rounds; round += 1) {
    const [version, tag] = [round % 2 === 0 ? 'v2' : 'v3', `v${round + 2}`]
    say(`push ${round + 1} of ${rounds}`)
    const known = (await ropeway.deploys('hello')).length
    const pushedAt = await scene.push(version, tag)
    await until(async () => (await ropeway.deploys('hello')).length > known, 'a push deploys')
    const servedAt = await servedEverywhere(stack.ip, version)
    const [id = ''] = await ropeway.deploys('hello')
    const events = await ropeway.outcome(id)
    const end = finalOf(events)
    if (end.type !== 'succeeded') throw new Error(`it ended ${end.type}`)
    const told = notifications.find(({ answer }) => answer.deploy?.id === id)
    const atOf = (type: string) => events.find(({ event }) => event.type === type)?.at ?? 0
    const pulledAt = stepsOf(events).find(({ step }) => step.kind === 'pull')?.finishedAt ?? 0
    const toldAt = told?.at ?? 0
    const marks = [pushedAt, toldAt, atOf('accepted'), atOf('received'), pulledAt, servedAt]
    for (const [index, part] of PARTS.slice(0, 5).entries())
      times.get(part)?.push((marks[index + 1] ?? 0) - (marks[index] ?? 0))
    times.get(PARTS[5])?.push(servedAt - pushedAt)
  }
  printTable(
    `From docker push to every instance (${rounds} pushes; median, least and most)`,
    ['', 'time'],
    PARTS.map((part) => [part, spread(times.get(part) ?? [])]),
  )
  printText(
    'The registry tells while `docker push` still ends, so the first part may be below zero. Two instances, health checks of the default.',
  )
})

/** When so many answers in a row were by the version that both instances must have given some. */
async function servedEverywhere(ip: string, version: string): Promise<number> {
  const signal = AbortSignal.timeout(120_000)
  let since = 0
  for (let inARow = 0; inARow < 20; await pause(ASK_MS)) {
    const answer = await fetch(`http://${ip}/`, { signal })
    await answer.text()
    if (answer.headers.get('x-version') !== version) inARow = 0
    else if (inARow++ === 0) since = Date.now()
  }
  return since
}
