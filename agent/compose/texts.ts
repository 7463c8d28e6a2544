// The compose files as they stand with some services of a roll updated. Always made from the user's own texts, so none updated is
// those texts, byte for byte. Pure.

import { envFor, type DeployRequest } from '../../shared/request.ts'
import { Problem } from '../../shared/problems.ts'
import { editService, readService } from './edit.ts'

/** Texts by path, in the order of `docker compose -f`: a later file overrides an earlier one. */
export type FileTexts = Readonly<Record<string, string>>

/** The texts with these services at what the request asks for. `image` is the text to write, where the request names one. */
export function composeTextsWith(
  files: FileTexts,
  updated: readonly string[],
  request: DeployRequest,
  image: string | undefined,
): FileTexts {
  return updated.reduce((texts, service) => editFiles(texts, service, image, envFor(request, service)), files)
}

/** Those of the texts that differ. */
export function changedTexts(before: FileTexts, after: FileTexts): FileTexts {
  return Object.fromEntries(Object.entries(after).filter(([path, text]) => before[path] !== text))
}

function editFiles(
  files: FileTexts,
  service: string,
  image: string | undefined,
  env: Record<string, string>,
): FileTexts {
  let texts = files
  const edit = (path: string, change: Parameters<typeof editService>[2]) => {
    texts = { ...texts, [path]: editService(texts[path] ?? '', service, change) }
  }
  if (image !== undefined) edit(fileThatSays(texts, service, [(said) => said.hasImage]), { image })
  for (const [key, value] of Object.entries(env)) {
    const path = fileThatSays(texts, service, [(said) => key in said.env, (said) => said.hasEnvironment])
    edit(path, { env: { [key]: value } })
  }
  return texts
}

type Said = NonNullable<ReturnType<typeof readService>>

// The last file that says it wins in compose, so that is the one to change; failing that, the last one that says something near
// it, and in the end the first that defines the service.
function fileThatSays(
  texts: FileTexts,
  service: string,
  tests: readonly ((said: Said) => boolean)[],
): string {
  const files = Object.entries(texts)
    .toReversed()
    .flatMap(([path, text]) => {
      const said = readService(text, service)
      return said ? [{ path, said }] : []
    })
  const first = files.at(-1)
  if (!first)
    throw new Problem('service-unknown', `service ${service} is in none of ${Object.keys(texts).join(', ')}`)
  const match = tests.flatMap((test) => files.filter(({ said }) => test(said)))
  return (match[0] ?? first).path
}
