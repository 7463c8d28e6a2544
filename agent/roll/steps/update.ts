// Brings one service to a version: edits the stack's files for it alone, has its container recreated, and sees what runs.

import type { Version } from '../../../shared/plan.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container } from '../../ports.ts'
import { containersOf, idsOf, memberOf, type RollState } from '../context.ts'
import { restoreName } from '../image-name.ts'
import { faultOf } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** Creating a container on a slow disk takes up to eight minutes: 200 to 460 s were reported in Gryt-chat/gryt#279. */
const UPDATE_MS_MAX = 10 * 60_000

export const update: StepHandler<'update'> = {
  undone: 'by-plan',
  deadlineMs: () => UPDATE_MS_MAX,
  isFinishedFirst: true,
  async do({ service, to, undo, force = false }, { roll, signal }) {
    if (undo) await failIfUp(roll, service, signal)
    const updated = new Set(roll.runtime.updated)
    if (undo) updated.delete(service)
    else updated.add(service)
    await roll.runtime.define(updated)
    if (undo) await restoreName(roll.ports.engine, roll.observed, service, signal)
    await roll.runtime.run(service, { recreate: force }, signal)
    const containers = await containersOf(roll, service, signal)
    roll.known?.set(service, idsOf(containers))
    for (const container of containers) checkVersion(roll, container, to, undo)
    if (containers.length === 0)
      throw new Problem('container-missing', `service ${service} has no container after docker compose up`)
    return {}
  },
}

// On the way back a dead service is recreated first, while the proxy still has it in: with it dead, the proxy could not load a route. Where somebody
// has started the service meanwhile, it gets requests again and must not be recreated.
async function failIfUp(roll: RollState, service: string, signal: AbortSignal): Promise<void> {
  if (roll.proxy.out.has(service) || !memberOf(roll, service).isLive) return
  const containers = await containersOf(roll, service, signal)
  if (containers.every((container) => faultOf(roll, container) !== undefined)) return
  throw new Problem('container-changed', `${service} is up again, and nginx sends it requests`, {
    cure: 'let the deploy end first',
  })
}

/** Throws `container-wrong` unless the container has the wanted image and env. */
export function checkVersion(roll: RollState, container: Container, wanted: Version, isUndo: boolean): void {
  const wrong = Object.entries(wanted.env).find(
    ([key, value]) => value !== null && container.env[key] !== value,
  )
  if (wrong)
    throw new Problem(
      'container-wrong',
      `${container.name} runs with another ${wrong[0]} than the wanted one`,
    )
  const pinned = wanted.image === undefined ? undefined : roll.images.get(wanted.image)
  const images = isUndo
    ? memberOf(roll, container.service).containers.map(({ imageId }) => imageId)
    : pinned && [pinned.id]
  if (wanted.image !== undefined && images && !images.includes(container.imageId))
    throw new Problem('container-wrong', `${container.name} runs another image than ${wanted.image}`)
}
