// Which request takes the place of another one of its stack that waits: the hub asks before it offers, the agent before it runs.

import type { Trust } from './deploy.ts'
import { isRollback, namesImage, type AnyRequest, type DeployRequest } from './request.ts'
import { isDowngrade } from './version.ts'

/** A request that waits, or comes. */
export interface Wish {
  readonly trust: Trust
  readonly request: AnyRequest
}

/**
 * Whether a request takes the place of an older one of its stack that waits. A hint says too little to replace what somebody asked for; a push
 * gives way to nothing that names no image, nor to an older push that comes late: that one waits behind it, and is then found outdated.
 */
export function supersedes(newer: Wish, older: Wish): boolean {
  if (older.trust === 'signed') return newer.trust === 'signed'
  const [next, pushed] = [newer.request, older.request]
  if (isRollback(next) || isRollback(pushed) || pushed.image === undefined) return true
  return namesImage(next) && !(newer.trust === 'hint' && isOutdated(next, pushed))
}

function isOutdated(next: DeployRequest, than: DeployRequest): boolean {
  if (next.builtAt !== undefined && than.builtAt !== undefined)
    return Date.parse(next.builtAt) < Date.parse(than.builtAt)
  return next.upgradeOnly === true && isDowngrade(next.image, than.image)
}
