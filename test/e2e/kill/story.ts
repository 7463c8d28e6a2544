// What happens to a deploy of the kill suite, as data: what it asks for, and when its agent is killed.

import type { Random } from '../../support/random.ts'

export interface Kill {
  readonly when:
    /** When the agent that runs has said so many lines about the deploy: it says one when a step is over. */
    | { readonly kind: 'line'; readonly count: number }
    /** So long after the deploy was asked for, or the agent started anew. */
    | { readonly kind: 'time'; readonly ms: number }
    /** When a write of a file is seen for the so many-th time: the compose file's begins and ends, nginx's as often as bytes come. */
    | { readonly kind: 'write'; readonly file: 'compose' | 'nginx'; readonly count: number }
    /** When the engine has done something to a container of the stack, for the so many-th time: in the middle of a compose call. */
    | { readonly kind: 'engine'; readonly action: (typeof ACTIONS)[number]; readonly count: number }
  /** With all that it has started, or alone: a compose call lives on. */
  readonly how: 'group' | 'alone'
}

export interface Story {
  readonly request: 'env' | 'image' | 'exits'
  readonly kills: readonly Kill[]
}

const HOWS = ['group', 'alone'] as const
/** What becomes of a container's old and new self when compose recreates it, in its order. */
const ACTIONS = ['create', 'die', 'destroy', 'rename', 'start'] as const
/** Received, preflight, plan, ten steps, and the end. */
const ENV_LINES = 14
/** In the image's: the pull is one more step. The failed step of the one that exits, `undoing`, and its way back. */
const IMAGE_LINES = [4, 8]
const EXITS_LINES = [7, 8, 9, 10]
/** Late on the way there, when the way back is longest, and so many lines of it. */
const LATE_LINE = 11
const BACK_LINES = [3, 4, 5, 6, 7, 8, 9, 10]
/** An agent needs this long until it does anything. */
const START_MS = 300

const atLine = (count: number, how: Kill['how']): Kill => ({ when: { kind: 'line', count }, how })
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** At every step boundary, and after it: there and back. Every other one again when the recovery has begun. */
export function boundaryStories(): Story[] {
  return [
    ...range(1, ENV_LINES).map((line): Story => ({
      request: 'env',
      kills: [
        atLine(line, HOWS[line % 2] ?? 'group'),
        ...(line % 2 === 0 ? [atLine(1 + ((line / 2) % 3), 'group')] : []),
      ],
    })),
    ...IMAGE_LINES.map((line): Story => ({ request: 'image', kills: [atLine(line, 'group')] })),
    ...EXITS_LINES.map((line): Story => ({ request: 'exits', kills: [atLine(line, 'group')] })),
  ]
}

/** In the middle of each kind of write that a roll makes. */
export function writeStories(): Story[] {
  const writes = [
    { file: 'compose', count: 1 },
    { file: 'compose', count: 3 },
    { file: 'nginx', count: 1 },
    { file: 'nginx', count: 3 },
  ] as const
  return writes.map((write, index) => ({
    request: 'env',
    kills: [{ when: { kind: 'write', ...write }, how: HOWS[index % 2] ?? 'group' }],
  }))
}

/** In the middle of a compose call, which dies too or lives on: of the first instance, and of the last. */
export function composeStories(): Story[] {
  return ACTIONS.flatMap((action) =>
    HOWS.map((how, index): Story => ({
      request: 'env',
      kills: [{ when: { kind: 'engine', action, count: index + 1 }, how }],
    })),
  )
}

/** At any instant of a roll that takes so long by itself, and at any of its recovery. */
export function randomStories(random: Random, count: number, rollMs: number): Story[] {
  const at = (min: number): Kill => ({
    when: { kind: 'time', ms: min + random.from(0, rollMs) },
    how: random.pick(HOWS),
  })
  return range(1, count).map(() => ({
    request: random.pick(['env', 'env', 'image']),
    kills: [at(0), at(START_MS)],
  }))
}

/** Late on the way there, and again at each step boundary of the way that the recovery takes. */
export function recoveryStories(random: Random): Story[] {
  return BACK_LINES.map((line) => ({
    request: 'env',
    kills: [atLine(LATE_LINE - (line % 3), random.pick(HOWS)), atLine(line, random.pick(HOWS))],
  }))
}

export function describeStory({ request, kills }: Story): string {
  const words = kills.map(({ when, how }) => {
    if (when.kind === 'line') return `at line ${when.count} (${how})`
    if (when.kind === 'time') return `after ${when.ms} ms (${how})`
    if (when.kind === 'engine') return `at ${when.action} ${when.count} (${how})`
    return `in write ${when.count} of the ${when.file} file (${how})`
  })
  return `${request}, killed ${words.join(', then ')}`
}
