// Whether the files that a roll will edit can be written at all, asked before anything moves.

import { changedTexts, composeTextsWith } from '../compose/texts.ts'
import type { Files } from '../ports.ts'
import type { Observed } from './observe.ts'
import { wantedOf, type AllWanted } from './wanted.ts'

/** A pull adds a digest to the image, so which files are edited shows with any image that stands in none of them. */
const ANY_IMAGE = 'ropeway.invalid/any:1'

/** Throws `file-unusable`. */
export async function checkWritable(
  { composeTexts, proxy }: Observed,
  order: readonly string[],
  wanted: AllWanted,
  files: Pick<Files, 'checkWritable'>,
): Promise<void> {
  const after = composeTextsWith(composeTexts, order, (service) => {
    const { image, env } = wantedOf(wanted, service)
    return { image: image === undefined ? undefined : ANY_IMAGE, env }
  })
  for (const path of Object.keys(changedTexts(composeTexts, after))) await files.checkWritable(path, 'rename')
  await files.checkWritable(proxy.file.hostPath, proxy.file.how)
}
