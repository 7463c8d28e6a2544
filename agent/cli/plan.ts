// `ropeway plan STACK`: what was inferred, what a deploy would do, and which lines it would change. Changes nothing.

import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff'
import { describeStep } from '../../shared/plan.ts'
import { parseDeployRequest } from '../../shared/request.ts'
import { describeProblem } from '../../shared/words.ts'
import { stackOf } from '../config/config.ts'
import type { Door } from '../roll/gates/door.ts'
import { describeProbe } from '../roll/gates/gates.ts'
import type { Preflight } from '../roll/preflight.ts'
import { readConfig } from './access.ts'
import { requestBody } from './deploy.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export async function run(
  name: string,
  options: ConfigOptions & Parameters<typeof requestBody>[0],
  io: Io,
): Promise<number> {
  const stack = stackOf(await readConfig(options, io), name)
  const request = parseDeployRequest(new TextEncoder().encode(requestBody(options)))
  const [{ realPorts }, { preflight }] = await Promise.all([
    import('../adapters/index.ts'),
    import('../roll/preflight.ts'),
  ])
  const found = await preflight(stack, request, realPorts(), { releases: [] }, io.signal)
  print(io, options.json ? JSON.stringify(asJson(found)) : asText(found))
  return EXIT.success
}

function asJson(found: Preflight) {
  return {
    inferred: inferred(found),
    gates: found.gates,
    plan: found.plan,
    warnings: found.warnings,
    diff: diffOf(found),
  }
}

function inferred(found: Preflight): Record<string, string> {
  const { runtime, proxy } = found.observed
  return { project: runtime.project, ...proxy.inferred, ...gatesNow(found) }
}

// What the roll will ask, and what is answered today.
function gatesNow({ gates, observed: { proxy } }: Preflight): Record<string, string> {
  const { probe, from, before, doors } = gates
  const by = from === 'agent' ? '' : ', from inside nginx’s container'
  const answers = Object.entries(before).map(([service, { state, said }]) => `${service} ${state} (${said})`)
  const answer = (door: (typeof doors)[number]) => `${describeDoor(door)} answers ${door.status}`
  const closed = proxy.approach.doors.length === 0 ? 'no request leads there' : 'it reaches nobody today'
  return {
    health: `${describeProbe(probe)}${by}: ${answers.join(', ')}`,
    'through nginx': doors.map(answer).join(', ') || `not asked, ${closed}`,
  }
}

function describeDoor({ tls, host, port, path }: Door): string {
  return `${tls ? 'https' : 'http'}://${host}:${port}${path}`
}

function asText(found: Preflight): string {
  const facts = Object.entries(inferred(found))
  const width = Math.max(...facts.map(([key]) => key.length))
  const steps = found.plan.steps.map(
    (step, index) => `${String(index + 1).padStart(3)}. ${describeStep(step)}`,
  )
  return [
    ...facts.map(([key, value]) => `${key.padEnd(width)}  ${value}`),
    ...found.warnings.map((warning) => `warning: ${describeProblem(warning)}`),
    '',
    ...(steps.length === 0 ? ['nothing to do: this is what runs'] : steps),
    ...(steps.length === 0 ? [] : ['', diffOf(found).trimEnd()]),
  ].join('\n')
}

function diffOf({ runtime: { textsBefore: before }, texts: after }: Preflight): string {
  return Object.keys(after)
    .filter((path) => before[path] !== after[path])
    .map((path) =>
      createTwoFilesPatch(path, path, before[path] ?? '', after[path] ?? '', '', '', {
        context: 1,
        headerOptions: FILE_HEADERS_ONLY,
      }),
    )
    .join('\n')
}
