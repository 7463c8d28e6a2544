// What the job shows of a deploy: its log in groups while it goes on, then its outcome, as an error where it is one, and a summary.

import { describe, describeStep, seconds } from './words.mjs'
import { shown } from './runner.mjs'

/** @import { LoggedEvent, ToldEvent } from '../shared/events.ts' */
/** @import { Runner } from './runner.mjs' */

const FINAL = ['succeeded', 'failed', 'stuck', 'superseded', 'cancelled', 'expired']

/** Events that begin a new group of lines. */
const GROUPS = new Map([
  ['accepted', 'Request'],
  ['started', 'Preflight'],
  ['planned', 'Roll'],
  ['recovering', 'Recovery'],
  ['undoing', 'Undo'],
])

export class Report {
  /**
   * @param {Runner} runner
   * @param {{ id: string, host: string, stack: string, page: string }} deploy
   */
  constructor(runner, deploy) {
    this.runner = runner
    this.deploy = deploy
    /** The deploy's, as far as it is known. @type {string} */
    this.status = 'queued'
    /** @type {ToldEvent | undefined} */
    this.outcome = undefined
    /** By the index that events name. @type {string[]} */
    this.steps = []
    /** Those that ended, for the summary. @type {{ words: string, result: string, ms: number }[]} */
    this.ended = []
  }

  /**
   * Whether it was the last one.
   * @param {LoggedEvent} logged
   * @returns {boolean}
   */
  show({ at, event }) {
    const isFinal = FINAL.includes(event.type)
    // Whatever the relay sent: words for an event that is not as ours are must not end the job before the deploy's end.
    let words
    try {
      this.#note(event)
      words = describe(event, 'step' in event ? this.#nameOf(Number(event.step)) : '')
    } catch {
      words = event.type
    }
    const group = GROUPS.get(event.type)
    if (isFinal) this.runner.endGroup()
    else if (group) this.runner.group(group)
    if (words !== null) this.runner.log(words, at)
    if (event.type === 'warning') this.runner.annotate('warning', words ?? event.type)
    if (isFinal) this.#end(event, words ?? event.type)
    return isFinal
  }

  /** @param {number} step */
  #nameOf(step) {
    return this.steps[step] ?? `step ${step}`
  }

  /** @param {ToldEvent} event */
  #note(event) {
    if (event.type === 'received' || event.type === 'accepted') return
    if (!FINAL.includes(event.type)) this.status = 'running'
    if (event.type === 'planned') this.steps = event.plan.steps.map(describeStep)
    if (event.type === 'resuming' || event.type === 'undoing')
      this.steps.splice(event.from ?? this.steps.length, Infinity, ...event.steps.map(describeStep))
    if (event.type === 'step-finished' || event.type === 'step-failed')
      this.ended.push({
        words: this.#nameOf(event.step),
        result: event.type === 'step-finished' ? 'done' : 'failed',
        ms: event.ms,
      })
  }

  /**
   * @param {ToldEvent} event
   * @param {string} words
   */
  #end(event, words) {
    this.outcome = event
    this.status = event.type
    if (event.type !== 'succeeded') this.runner.annotate('error', words)
  }

  /**
   * The digest of each service: of an image that no registry has, its ID.
   * @returns {Record<string, string>}
   */
  digests() {
    const images = this.outcome?.type === 'succeeded' ? (this.outcome.images ?? {}) : {}
    return Object.fromEntries(
      Object.entries(images).flatMap(([service, image]) => {
        const digest = /(?:^|@)(sha256:[a-f0-9]{64})$/.exec(String(image))?.[1]
        return digest === undefined ? [] : [[service, digest]]
      }),
    )
  }

  /** @param {string} [fault] why the job does not know the end */
  summarize(fault) {
    const { id, host, stack, page } = this.deploy
    const { outcome } = this
    const words = fault ?? (outcome ? wordsOf(outcome) : this.status)
    const images = outcome?.type === 'succeeded' ? Object.entries(outcome.images ?? {}) : []
    this.runner.summarize(
      [
        `### ${shown(stack)} on ${shown(host)}: ${shown(this.status)}`,
        '',
        `Deploy [${shown(id)}](${page})`,
        '',
        `<pre>${words.split('\n').map(shown).join('\n')}</pre>`,
        ...table(['Service', 'Image'], images),
        ...table(
          ['Step', '', ''],
          this.ended.map((step) => [step.words, step.result, seconds(Number(step.ms))]),
        ),
      ].join('\n'),
    )
  }
}

/** @param {ToldEvent} event */
function wordsOf(event) {
  try {
    return describe(event, '') ?? event.type
  } catch {
    return event.type
  }
}

/**
 * @param {string[]} head
 * @param {unknown[][]} rows
 */
function table(head, rows) {
  if (rows.length === 0) return []
  return ['', row(head), row(head.map(() => '---')), ...rows.map((cells) => row(cells.map(shown)))]
}

/** @param {string[]} cells */
function row(cells) {
  return `| ${cells.join(' | ')} |`
}
