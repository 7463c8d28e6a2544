// The demo's screen: on a terminal a picture that changes in place, in a pipe one line for each thing that happened.

import { styleText } from 'node:util'
import { createLogUpdate } from 'log-update'
import { describeStep } from '../../shared/plan.ts'
import { seconds } from '../../shared/words.ts'
import type { Picture, Place } from './picture.ts'
import type { Traffic } from './traffic.ts'

const COLOURS: Record<Place, 'green' | 'yellow' | 'red' | 'cyan'> = {
  in: 'green',
  healthy: 'green',
  starting: 'cyan',
  updating: 'cyan',
  draining: 'yellow',
  out: 'red',
}

export interface Screen {
  /** A line that stays. */
  say(line: string): void
  /** The picture as it is now; in a pipe nothing. */
  draw(picture: Picture, traffic: Traffic): void
  end(): void
}

export function createScreen(stdout: NodeJS.WriteStream): Screen {
  const say = (line: string) => void stdout.write(`${line}\n`)
  if (!stdout.isTTY) return { say, draw: () => {}, end: () => {} }
  const screen = createLogUpdate(stdout)
  return {
    say: (line) => screen.persist(line),
    draw: (picture, traffic) => screen(render(picture, traffic).join('\n')),
    end: () => screen.done(),
  }
}

/** `app1,v1` is server and version, as the seed names them. */
export function countVersions({ answers }: Traffic): string {
  const versions = new Map<string, number>()
  for (const [answer, count] of Object.entries(answers)) {
    const version = answer.split(',')[1] ?? answer
    versions.set(version, (versions.get(version) ?? 0) + count)
  }
  return [...versions].map(([version, count]) => `${count} from ${version}`).join(', ')
}

export function countLine(traffic: Traffic): string {
  return `${traffic.requests} requests: ${countVersions(traffic)}, ${traffic.failed} failed`
}

function render({ steps, places, durations }: Picture, traffic: Traffic): string[] {
  const servers = Object.entries(places).map(([service, place]) => {
    const arrow = place === 'in' ? '──▶' : '   '
    return `   nginx ${arrow} ${service.padEnd(6)} ${styleText(COLOURS[place], place)}`
  })
  const at = steps[durations.length]
  const failed = traffic.failed === 0 ? 'green' : 'red'
  return [
    '',
    ...servers,
    '',
    `   ${countVersions(traffic)}, ${styleText(failed, `${traffic.failed} failed`)}`,
    at ? `   ${styleText('cyan', '▶')} ${describeStep(at)}` : '',
  ]
}

export function stepLine({ step, ms }: Picture['durations'][number]): string {
  return `${describeStep(step).padEnd(36)} ${seconds(ms).padStart(8)}`
}
