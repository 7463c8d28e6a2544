// A pull moves names: once `hello:latest` was pulled, that name means the new image, and compose would make the next container from it. So on the
// way back the name is given to the image again that ran before.

import { isImageId, parseImage } from '../../shared/image.ts'
import type { Images } from '../ports.ts'
import type { Observed } from './observe.ts'

type Engine = Pick<Images, 'image' | 'tag'>

/** Lets the image name in the user's files be what the service's containers ran before. Safe to repeat. */
export async function restoreName(
  engine: Engine,
  { members, runtime }: Pick<Observed, 'members' | 'runtime'>,
  service: string,
  signal: AbortSignal,
): Promise<void> {
  const text = runtime.services[service]?.image
  const before = members.find((one) => one.service === service)?.containers[0]?.imageId
  if (text === undefined || before === undefined || isImageId(text) || parseImage(text)?.digest !== undefined)
    return
  if ((await engine.image(text, signal))?.id !== before) await engine.tag(before, text, signal)
}

export async function restoreNames(
  engine: Engine,
  observed: Pick<Observed, 'members' | 'runtime'>,
  services: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const service of services) await restoreName(engine, observed, service, signal)
}
