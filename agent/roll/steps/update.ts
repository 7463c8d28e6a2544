// Brings one service to a version: edits the compose file for it alone, lets compose recreate its container, and sees what runs.

import { isImageId, parseImage } from '../../../shared/image.ts'
import type { Version } from '../../../shared/plan.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container } from '../../ports.ts'
import { containersOf, instanceOf, writeCompose, type RollState } from '../context.ts'
import type { StepHandler } from './index.ts'

/** Creating a container on a slow disk takes up to eight minutes: 200 to 460 s were reported in Gryt-chat/gryt#279. */
const UPDATE_MS_MAX = 10 * 60_000

export const update: StepHandler<'update'> = {
  deadlineMs: () => UPDATE_MS_MAX,
  async do({ service, to, undo }, { roll, signal }) {
    const updated = new Set(roll.updated)
    if (undo) updated.delete(service)
    else updated.add(service)
    await writeCompose(roll, updated)
    if (undo) await restoreTag(roll, service, signal)
    await roll.ports.compose.up(roll.stack, service, signal)
    const containers = await containersOf(roll, service, signal)
    for (const container of containers) checkVersion(roll, container, to, undo)
    if (containers.length === 0)
      throw new Problem('container-missing', `service ${service} has no container after docker compose up`)
    return {}
  },
}

/**
 * Lets the image that the user's compose file names for a service be what its containers ran before: a pull of `hello:latest` has
 * moved that name to the new image, and compose would make the next container from it.
 */
export async function restoreTag(roll: RollState, service: string, signal: AbortSignal): Promise<void> {
  const { engine } = roll.ports
  const text = roll.observed.model.services[service]?.image
  const before = instanceOf(roll, service).containers[0]?.imageId
  if (text === undefined || before === undefined || isImageId(text) || parseImage(text)?.digest !== undefined)
    return
  if ((await engine.image(text, signal))?.id !== before) await engine.tag(before, text, signal)
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
  const images = isUndo
    ? instanceOf(roll, container.service).containers.map(({ imageId }) => imageId)
    : roll.image && [roll.image.id]
  if (wanted.image !== undefined && images && !images.includes(container.imageId))
    throw new Problem('container-wrong', `${container.name} runs another image than ${wanted.image}`)
}
