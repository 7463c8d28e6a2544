// A notice in words, the same in every chat. Pure. How they look, and what has to be escaped, is each platform's own file.

import { describeProblem, seconds } from '../../shared/words.ts'
import type { Notice } from './notice.ts'

export interface Fact {
  readonly label: string
  readonly text: string
  /** To be copied as it stands. */
  readonly isCode?: boolean
}

export interface Message {
  readonly title: string
  readonly tone: Notice['moment']
  readonly facts: readonly Fact[]
  /** The last lines of what failed. */
  readonly log: readonly string[]
  readonly link: string | undefined
}

export function messageOf(notice: Notice): Message {
  return {
    title: `${MARKS[notice.moment]} ${titleOf(notice)}`,
    tone: notice.moment,
    facts: factsOf(notice),
    log: notice.problem?.log ?? [],
    link: notice.link,
  }
}

const MARKS = { start: '▶', success: '✔', failure: '✖', stuck: '⚠' } as const

/** One line, which says the most. */
export function titleOf(notice: Notice): string {
  const place = `${notice.stack} on ${notice.host}`
  const what = notice.rollbackTo === undefined ? 'deploy' : 'rollback'
  switch (notice.moment) {
    case 'start':
      return `${place}: ${what} has begun`
    case 'success':
      if (notice.changed === false) return `${place}: nothing had to change`
      return `${place}: ${what} succeeded${took(' in ', notice.ms)}`
    case 'failure':
      if (notice.cancelledBy !== undefined)
        return `${place}: ${what} was cancelled${took(' after ', notice.ms)}`
      return `${place}: ${what} failed${took(' after ', notice.ms)}`
    case 'stuck':
      return `${place} is stuck: somebody must look`
  }
}

// One that took no time had not begun.
function took(before: string, ms = 0): string {
  return ms === 0 ? '' : `${before}${seconds(ms)}`
}

function factsOf(notice: Notice): Fact[] {
  const { actor, reason, problem, undo, serving, cancelledBy, release, rollbackTo } = notice
  const isLocked = notice.moment === 'stuck' || problem?.code === 'stack-locked'
  return [
    fact('Version', changesOf(notice).join('\n')),
    fact(
      'Back to',
      rollbackTo === undefined
        ? ''
        : rollbackTo === 'previous'
          ? 'the previous release'
          : `release ${rollbackTo}`,
    ),
    fact('Asked for by', actor),
    fact('Reason', reason),
    fact('Cancelled by', cancelledBy),
    fact('What went wrong', problem && describeProblem({ ...problem, log: undefined })),
    fact('Undoing failed too', undo && describeProblem({ ...undo, log: undefined })),
    fact('Stack', standingOf(notice)),
    fact('Serving', serving && (serving.join(', ') || 'nobody')),
    fact('What to do', isLocked && `ropeway watch ${notice.deploy}`, true),
    fact('Once it is repaired', isLocked && `ropeway resolve ${notice.stack}`, true),
    fact('Release', release === undefined ? '' : String(release)),
    fact('Deploy', notice.deploy, true),
  ].flat()
}

/** Only what is known to be true. */
export function standingOf({ standing }: Notice): string {
  if (standing === 'untouched') return 'nothing was touched'
  return standing === 'before' ? 'still serving the previous version' : ''
}

function fact(label: string, text: string | false | undefined, isCode = false): Fact[] {
  return text ? [{ label, text, ...(isCode ? { isCode } : {}) }] : []
}

/** A line for each change, with those instances together that change alike. */
export function changesOf({ changes, moreChanges }: Notice): string[] {
  const alike = Map.groupBy(changes, ({ from, to }) => (from === to ? to : `${from} → ${to}`))
  const lines = [...alike].map(([change, of]) => `${of.map(({ service }) => service).join(', ')}: ${change}`)
  return moreChanges === 0 ? lines : [...lines, `and ${moreChanges} more instances`]
}
