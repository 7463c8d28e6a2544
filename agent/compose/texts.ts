// The compose files as they stand with some services of a roll updated. Always made from the user's own texts, so none updated is
// those texts, byte for byte. Pure.

import { Problem } from '../../shared/problems.ts'
import { editService, readService, type ServiceChange, type ServiceText } from './edit.ts'

/** Texts by path, in the order of `docker compose -f`: a later file overrides an earlier one. */
export type FileTexts = Readonly<Record<string, string>>

/** The texts with these services, one after the other, at what each shall be. */
export function composeTextsWith(
  files: FileTexts,
  updated: readonly string[],
  wantedOf: (service: string) => ServiceChange,
): FileTexts {
  return updated.reduce((texts, service) => editFiles(texts, service, wantedOf(service)), files)
}

/** Those of the texts that differ. */
export function changedTexts(before: FileTexts, after: FileTexts): FileTexts {
  return Object.fromEntries(Object.entries(after).filter(([path, text]) => before[path] !== text))
}

function editFiles(files: FileTexts, service: string, { image, env = {} }: ServiceChange): FileTexts {
  const variables = Object.entries(env)
  if (image === undefined && variables.length === 0) return files
  const defining = Object.entries(files).flatMap(([path, text]) => {
    const said = readService(text, service)
    return said ? [{ path, text, said }] : []
  })
  if (defining.length === 0)
    throw new Problem('service-unknown', `service ${service} is in none of ${Object.keys(files).join(', ')}`)

  const imageFile = fileToEdit(defining, 'image', [(said) => said.hasImage])
  const envFiles = variables.map(([key, value]) =>
    value === null
      ? counting(defining, 'environment').filter(({ said }) => Object.hasOwn(said.env, key))
      : [
          fileToEdit(defining, 'environment', [
            (said) => Object.hasOwn(said.env, key),
            (said) => said.hasEnvironment,
          ]),
        ],
  )
  const edited = defining.map((file) => {
    const newImage = file === imageFile ? image : undefined
    const newEnv = variables.filter((_, index) => envFiles[index]?.includes(file))
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
// it, and in the end the first that defines the service.
function fileToEdit(
  defining: readonly Defining[],
  what: 'image' | 'environment',
  tests: readonly ((said: ServiceText) => boolean)[],
): Defining | undefined {
  const files = counting(defining, what)
  return tests.map((test) => files.findLast(({ said }) => test(said))).find(Boolean) ?? files[0]
}

/** Those that no later one makes compose forget. */
function counting(defining: readonly Defining[], what: 'image' | 'environment'): readonly Defining[] {
  const start = defining.findLastIndex(({ said }) => said.replaces === 'service' || said.replaces === what)
  return defining.slice(Math.max(0, start))
}
