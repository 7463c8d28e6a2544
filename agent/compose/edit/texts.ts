// The compose files with some services of a roll updated. They are always made from the user's own texts: with no service updated they are those
// texts, byte for byte. Pure.

import { Problem } from '../../../shared/problems.ts'
import { meanTheSame, withSharedImages } from './shared-image.ts'
import { editService, hasIncludes, readService, type ServiceChange, type ServiceText } from './edit.ts'

/** Texts by path, in the order of `docker compose -f`: a later file overrides an earlier one. */
export type FileTexts = Readonly<Record<string, string>>

/** The texts with these services, one after the other, at their wanted version. What they all take from one place is changed there, once they all are. */
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

/** The texts of `after` that differ from those of `before`. */
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
    // A file that stays as it is may be one that cannot be edited.
    if (newImage === undefined && newEnv.length === 0) return [file.path, file.text]
    const change = { image: newImage, env: Object.fromEntries(newEnv) }
    return [file.path, editService(file.text, service, change)]
  })
  return { ...files, ...Object.fromEntries(edited) }
}

// An included file cannot be listed in `compose:` instead: compose resolves its paths from where it stands. Another file may override it.
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

/** The variables in a service's image, as the files say it. */
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

// In compose the last file that sets a value wins, so that one is changed. Failing that, the last file that sets something near it, and in the end
// the first that defines the service.
function fileToEdit(
  defining: readonly Defining[],
  what: 'image' | 'environment',
  tests: readonly ((said: ServiceText) => boolean)[],
): Defining | undefined {
  const files = counting(defining, what)
  return tests.map((test) => files.findLast(({ said }) => test(said))).find(Boolean) ?? files[0]
}

/** The files whose part compose keeps: a later `!override` or `!reset` drops what comes before it. */
function counting(defining: readonly Defining[], what: 'image' | 'environment'): readonly Defining[] {
  const start = defining.findLastIndex(({ said }) => said.replaces === 'service' || said.replaces === what)
  return defining.slice(Math.max(0, start))
}
