// A deploy as somebody at a screen follows it: drawn on a terminal, one line an event in a pipe, one JSON text an event for a program.

import { styleText } from 'node:util'
import { createLogUpdate } from 'log-update'
import type { Facts, LoggedEvent } from '../../shared/events.ts'
import { describeStep, type ToldStep } from '../../shared/plan.ts'
import {
  describeEvent,
  describeFacts,
  describeProblem,
  EMPTY_PICTURE,
  nextPicture,
  seconds,
} from '../../shared/words.ts'

export interface Progress {
  show(event: LoggedEvent): void
  /** Leaves the terminal as the next program wants it. */
  end(): void
}

export interface ProgressOptions {
  readonly stdout: NodeJS.WriteStream
  readonly json: boolean
  readonly env: NodeJS.ProcessEnv
}

export function createProgress({ stdout, json, env }: ProgressOptions): Progress {
  const write = (line: string) => void stdout.write(`${line}\n`)
  if (json) return { show: (event) => write(JSON.stringify(event)), end: () => {} }
  if (!stdout.isTTY) return lines(write)
  return drawn(stdout, !env['NO_COLOR'])
}

function lines(write: (line: string) => void): Progress {
  let picture = EMPTY_PICTURE
  return {
    show: (event) => {
      picture = nextPicture(picture, event)
      const words = describeEvent(picture, event)
      if (words !== undefined) write(`${timeOf(event.at)} ${words}`)
    },
    end: () => {},
  }
}

/** `HH:MM:SS.mmm` by the viewer's own time zone. */
export function timeOf(at: number): string {
  const date = new Date(at)
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) =>
    String(part).padStart(2, '0'),
  )
  return `${parts.join(':')}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

const REDRAW_MS = 100

// What is done scrolls away as ordinary lines; only the step at work and those that wait are redrawn.
function drawn(stdout: NodeJS.WriteStream, hasColour: boolean): Progress {
  const screen = createLogUpdate(stdout)
  let view = EMPTY_VIEW
  const draw = () => screen(renderView(view, Date.now(), hasColour).join('\n'))
  const timer = setInterval(draw, REDRAW_MS)
  return {
    show: (event) => {
      const { view: next, finished } = nextView(view, event, hasColour)
      view = next
      for (const line of finished) screen.persist(line)
      draw()
    },
    end: () => {
      clearInterval(timer)
      view = EMPTY_VIEW
      screen.clear()
      screen.done()
    },
  }
}

/** What is on the screen below the finished lines. */
export interface View {
  readonly steps: readonly (ToldStep | undefined)[]
  readonly running: { readonly step: number; readonly since: number; readonly facts: Facts } | undefined
  /** The first step that has not begun. */
  readonly next: number
}
export const EMPTY_VIEW: View = { steps: [], running: undefined, next: 0 }

/** The view after an event, and the lines that the event finishes. */
export function nextView(
  view: View,
  logged: LoggedEvent,
  hasColour: boolean,
): { view: View; finished: string[] } {
  const { event, at } = logged
  const { steps } = nextPicture(view, logged)
  const words = describeEvent({ steps }, logged)
  const line = (colour: Colour, text: string) => [paint(hasColour, colour, text)]
  switch (event.type) {
    case 'planned':
      return { view: { ...EMPTY_VIEW, steps }, finished: [words ?? ''] }
    case 'undoing':
    case 'resuming': {
      // The steps that were never begun never will be; those of the undo follow.
      const next = steps.length - event.steps.length
      return { view: { steps, running: undefined, next }, finished: line('yellow', `↩ ${words}`) }
    }
    case 'step-started': {
      const running = { step: event.step, since: at, facts: {} }
      return { view: { steps, running, next: event.step + 1 }, finished: [] }
    }
    case 'step-progress': {
      const facts = { ...view.running?.facts, ...event.facts }
      const since = view.running?.since ?? at
      return { view: { ...view, running: { step: event.step, since, facts } }, finished: [] }
    }
    case 'step-finished': {
      const mark = paint(hasColour, 'green', '✔')
      const time = paint(hasColour, 'dim', `${seconds(event.ms)}${describeFacts(event.facts)}`)
      const finished = [`${mark} ${nameOf(steps, event.step)} ${time}`]
      return { view: { ...view, running: undefined }, finished }
    }
    case 'step-failed': {
      const problem = describeProblem(event.problem)
      const text = `✖ ${nameOf(steps, event.step)} after ${seconds(event.ms)}: ${problem}`
      return { view: { ...view, running: undefined }, finished: line('red', text) }
    }
    case 'succeeded':
      return { view: EMPTY_VIEW, finished: line('green', `✔ ${words}`) }
    case 'failed':
    case 'stuck':
      return { view: EMPTY_VIEW, finished: line('red', `✖ ${words}`) }
    case 'superseded':
    case 'cancelled':
    case 'expired':
      return { view: EMPTY_VIEW, finished: line('yellow', `✖ ${words}`) }
    case 'warning':
      return { view, finished: line('yellow', `! ${words}`) }
    case 'recovering': {
      // What ran when the agent ended does not run any more; what comes instead, the next event says.
      const stopped = { steps, running: undefined, next: steps.length }
      return { view: stopped, finished: line('yellow', `! ${words}`) }
    }
    // `accepted`, `gap`, `received`, `started`, and whatever a newer relay tells.
    default:
      return { view, finished: line('dim', `· ${words}`) }
  }
}

export function renderView({ steps, running, next }: View, now: number, hasColour: boolean): string[] {
  const waiting = steps
    .slice(next)
    .flatMap((step) => (step ? [paint(hasColour, 'dim', `○ ${describeStep(step)}`)] : []))
  if (!running) return waiting
  const elapsed = seconds(Math.max(0, now - running.since))
  const mark = paint(hasColour, 'cyan', '▶')
  return [`${mark} ${nameOf(steps, running.step)} ${elapsed}${describeFacts(running.facts)}`, ...waiting]
}

function nameOf(steps: View['steps'], index: number): string {
  const step = steps[index]
  return step ? describeStep(step) : `step ${index}`
}

type Colour = 'green' | 'red' | 'yellow' | 'cyan' | 'dim'

function paint(hasColour: boolean, colour: Colour, text: string): string {
  return hasColour ? styleText(colour, text, { validateStream: false }) : text
}
