// The compose files as they stand with some services of a roll updated. Always made from the user's own texts, so none updated is
// those texts, byte for byte. Pure.

import { Problem } from '../../../shared/problems.ts'
import { meanTheSame, withSharedImages } from './shared-image.ts'
import { editService, hasIncludes, readService, type ServiceChange, type ServiceText } from './edit.ts'

/** Texts by path, in the order of `docker compose -f`: a later file overrides an earlier one. */
export type FileTexts = Readonly<Record<string, string>>

/** The texts with these services, one after the other, at what each shall be. What they all have from one place is changed there, once they all are. */
export function composeTextsWith(
  files: FileTexts,
  updated: readonly string[],
  wantedVersion: (service: string) => ServiceChange,
): FileTexts {
  const editAll = (texts: FileTexts) =>
    updated.reduce((edited, service) => editFiles(edited, service, wantedVersion(service)), texts)
  const each = editAll(files)
  const images = updated.flatMap((service): [string, string][] => {
    const { image } = wantedVersion(service)
    return image === undefined ? [] : [[service, image]]
  })
  const paths = Object.keys(files)
  const at = (texts: FileTexts, path: string) => texts[path] ?? ''
  const shared = Object.fromEntries(
    paths.map((path) => [path, withSharedImages(at(files, path), new Map(images))]),
  )
  if (paths.every((path) => shared[path] === files[path])) return each
  const together = editAll(shared)
  return paths.every((path) => meanTheSame(at(together, path), at(each, path))) ? together : each
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
  if (defining.length === 0) throw undefinedIn(files, service)

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

// compose resolves the paths of an included file from where it stands, so it cannot be listed in `compose:` instead; another file may override it.
function undefinedIn(files: FileTexts, service: string): Problem {
  const including = Object.keys(files).find((path) => hasIncludes(files[path] ?? ''))
  if (including === undefined)
    return new Problem('service-unknown', `service ${service} is in none of ${Object.keys(files).join(', ')}`)
  return new Problem(
    'compose-not-editable',
    `service ${service} stands in a file that ${including} includes, which Ropeway does not edit`,
    {
      cure: `write its image in a file of its own, as \`services: { ${service}: { image: … } }\`, and list that one after ${including}, here and for \`docker compose -f\``,
    },
  )
}

/** The variables that make up a service's image where the files say it. */
export function imageVariables(files: FileTexts, service: string): string[] {
  const image =
    Object.values(files)
      .flatMap((text) => readService(text, service)?.image ?? [])
      .at(-1) ?? ''
  const found = image.replaceAll('$$', '').matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)
  return [...new Set([...found].map(([, name]) => name ?? ''))]
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
