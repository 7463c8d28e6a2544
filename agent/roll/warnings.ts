// What a person should know of the images before a roll, though it forbids none.

import type { Observed } from './observe.ts'
import type { Ports } from './ports.ts'
import type { Warning } from './proxy.ts'

export async function warnOfMovedTags(
  { members, runtime }: Observed,
  { engine }: Pick<Ports, 'engine'>,
  signal: AbortSignal,
): Promise<Warning[]> {
  const found = members.map(async ({ service, containers }): Promise<Warning[]> => {
    const text = runtime.services[service]?.image
    const image = text === undefined ? undefined : await engine.image(text, signal)
    if (!image || containers.every(({ imageId }) => imageId === image.id)) return []
    return [
      {
        code: 'image-moved',
        message: `${text} names another image by now than the one that ${service} runs: a roll that asks for no image will bring it`,
      },
    ]
  })
  return (await Promise.all(found)).flat()
}
