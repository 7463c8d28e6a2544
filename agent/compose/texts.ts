// The compose files as they stand with some services of a roll updated. Always made from the user's own texts, so none updated is
// those texts, byte for byte. Pure.

import { envFor, type DeployRequest } from '../../shared/request.ts'
import { Problem } from '../../shared/problems.ts'
import { editService, readService, type ServiceText } from './edit.ts'

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
  env: Readonly<Record<string, string>>,
): FileTexts {
  const variables = Object.entries(env)
  if (image === undefined && variables.length === 0) return files
  const defining = Object.entries(files).flatMap(([path, text]) => {
    const said = readService(text, service)
    return said ? [{ path, text, said }] : []
  })
  if (defining.length === 0)
    throw new Problem('service-unknown', `service ${service} is in none of ${Object.keys(files).join(', ')}`)

  const imageFile = fileToEdit(defining, 'image', [(said) => said.hasImage])
  const envFiles = variables.map(([key]) =>
    fileToEdit(defining, 'environment', [
      (said) => Object.hasOwn(said.env, key),
      (said) => said.hasEnvironment,
    ]),
  )
  const edited = defining.map((file) => {
    const newImage = file === imageFile ? image : undefined
    const newEnv = variables.filter((_, index) => envFiles[index] === file)
    // A file that is to stay may be one that cannot be edited.
    if (newImage === undefined && newEnv.length === 0) return [file.path, file.text]
    const change = { image: newImage, env: Object.fromEntries(newEnv) }
    return [file.path, editService(file.text, service, change)]
  })
  return { ...files, ...Object.fromEntries(edited) }
}

interface Defining {
  readonly path: string
  readonly text: string
  readonly said: ServiceText
}

// The last file that says it wins in compose, so that is the one to change; failing that, the last one that says something near
// it, and in the end the first that defines the service. None counts that a later one makes compose forget.
function fileToEdit(
  defining: readonly Defining[],
  what: 'image' | 'environment',
  tests: readonly ((said: ServiceText) => boolean)[],
): Defining | undefined {
  const start = defining.findLastIndex(({ said }) => said.replaces === 'service' || said.replaces === what)
  const files = defining.slice(Math.max(0, start))
  return tests.map((test) => files.findLast(({ said }) => test(said))).find(Boolean) ?? files[0]
}
