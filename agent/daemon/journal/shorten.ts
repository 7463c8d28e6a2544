// An event that no frame could carry, made shorter before it is stored: one that is too long would never leave the journal, nor would
// those that come after it. Pure.

import type { AgentEvent, DeclinedEvent } from '../../../shared/events.ts'
import { EVENT_BYTES_MAX } from '../../../shared/limits.ts'

/** What long strings are cut to, one after the other: a paragraph, a line or two, a name, and what is still better than nothing. */
const STRING_CHARS = [1000, 200, 50, 10]
/**
 * Texts by which others know what is meant: kinds, codes, and names that the deploy's other events refer to. And commands, which somebody
 * will run as they stand.
 */
const NEVER_CUT = new Set(
  'type kind when way state code service out back stack upstream instances serving path repair'.split(' '),
)

/**
 * The event as it is where it fits into a frame. Else without the first lines of its logs; if that is not enough, with its long strings
 * cut. A final event always fits then; any other is replaced by a `warning` that says which it was.
 */
export function shorten(event: DeclinedEvent): DeclinedEvent
export function shorten(event: AgentEvent): AgentEvent
export function shorten(event: AgentEvent): AgentEvent {
  if (fits(event)) return event
  // A digest that is cut names nothing.
  if (event.type === 'succeeded' && event.images) {
    const { images: _, ...rest } = event
    return shorten(rest)
  }
  for (const chars of [Infinity, ...STRING_CHARS]) {
    const shorter = withFewestLinesDropped(event, chars)
    if (shorter) return shorter
  }
  // Only by a number of services, or of files, that no host has.
  if (event.type === 'stuck' && event.damage) {
    const { damage: _, ...rest } = event
    return shorten(rest)
  }
  if (event.type === 'succeeded') return { ...event, services: {} }
  const step = 'step' in event ? ` of step ${event.step}` : ''
  const message = `the event ${event.type}${step} was too long to be kept: over ${EVENT_BYTES_MAX} bytes`
  return { type: 'warning', problem: { code: 'event-too-long', message } }
}

function fits(event: AgentEvent): boolean {
  return Buffer.byteLength(JSON.stringify(event)) <= EVENT_BYTES_MAX
}

function withFewestLinesDropped(event: AgentEvent, chars: number): AgentEvent | undefined {
  const shorterBy = (lines: number) => reduced(event, '', { chars, lines }) as AgentEvent
  if (!fits(shorterBy(0))) return undefined
  // Between a number of last lines that fits and one that does not.
  let [min, max] = [0, EVENT_BYTES_MAX]
  while (max - min > 1) {
    const lines = Math.floor((min + max) / 2)
    if (fits(shorterBy(lines))) min = lines
    else max = lines
  }
  return shorterBy(min)
}

/** With no string longer than `chars`, and at most the last `lines` of each log. */
function reduced(value: unknown, key: string, limits: { chars: number; lines: number }): unknown {
  if (typeof value === 'string') {
    if (value.length <= limits.chars || NEVER_CUT.has(key)) return value
    return `${value.slice(0, limits.chars).toWellFormed()}…`
  }
  if (Array.isArray(value)) {
    const kept = key === 'log' ? value.slice(Math.max(0, value.length - limits.lines)) : value
    return kept.map((each) => reduced(each, key, limits))
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, reduced(each, name, limits)]))
}
