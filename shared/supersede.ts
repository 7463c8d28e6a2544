// Which of the requests that wait are superseded by a newer one of their stack. The hub asks before it offers, the agent before it runs.

import { type Trust, isRollback, namesImage, type AnyRequest, type DeployRequest } from './request.ts'
import { parseImage } from './image.ts'
import { isLower } from './version.ts'

/** A request that waits, or comes. */
export interface Supersedable {
  readonly trust: Trust
  readonly request: AnyRequest
}

/**
 * The requests that need not run any more, because the newer one sets all that they would have set. `waiting` are those of one stack, oldest
 * first. A rollback to the release before depends on what ran before it: if it stays, so does all that waits before it.
 */
export function supersededBy<T extends Supersedable>(newer: Supersedable, waiting: readonly T[]): T[] {
  const barrier = waiting.findLastIndex((older) => isRelative(older.request) && !supersedes(newer, older))
  return waiting.slice(barrier + 1).filter((older) => supersedes(newer, older))
}

/**
 * Whether the older request makes no difference once the newer one has run. A hint never supersedes a signed request, because it says too
 * little.
 */
export function supersedes(newer: Supersedable, older: Supersedable): boolean {
  if (older.trust === 'signed' && newer.trust === 'hint') return false
  const [next, last] = [newer.request, older.request]
  if (isRollback(next)) return !isRelative(next) && (isRollback(last) || last.force !== true)
  if (isRollback(last)) return false
  return (
    hasServicesOf(next, last) &&
    hasImageOf(next, last) &&
    Object.keys(last.env ?? {}).every((key) => Object.hasOwn(next.env ?? {}, key)) &&
    (last.force !== true || next.force === true) &&
    passesWhere(next, last)
  )
}

/** Whether it depends on what ran before it, which a numbered release does not. */
function isRelative(request: AnyRequest): boolean {
  return isRollback(request) && (request.release === 'previous' || request.ifRuns !== undefined)
}

function hasServicesOf({ services: next }: DeployRequest, { services: last }: DeployRequest): boolean {
  return next === undefined || (last?.every((service) => next.includes(service)) ?? false)
}

function hasImageOf(next: DeployRequest, last: DeployRequest): boolean {
  if (isEnvAlone(last)) return true
  if (isEnvAlone(next)) return false
  // A request that names no repository means the one that runs. Only the host knows which that is.
  if (repositoryOf(next) !== repositoryOf(last)) return false
  return namesImage(next) || !namesImage(last)
}

/** Whether it leaves the images as they are. A request that names neither image nor env asks for what runs now. */
function isEnvAlone(request: DeployRequest): boolean {
  return !namesImage(request) && Object.keys(request.env ?? {}).length > 0
}

function repositoryOf({ image }: DeployRequest): string | undefined {
  return parseImage(image ?? '')?.repository
}

// Whether the newer one passes the checks on age and version wherever the older one would. Otherwise the newer could be refused when the older
// is already dropped.
function passesWhere(next: DeployRequest, last: DeployRequest): boolean {
  const isBuiltLater =
    next.builtAt === undefined || last.builtAt === undefined
      ? next.builtAt === last.builtAt
      : Date.parse(next.builtAt) >= Date.parse(last.builtAt)
  if (next.upgradeOnly !== true) return isBuiltLater
  return isBuiltLater && last.upgradeOnly === true && !isLower(tagOf(next), tagOf(last))
}

function tagOf({ image, tag }: DeployRequest): string | undefined {
  return tag ?? parseImage(image ?? '')?.tag
}
