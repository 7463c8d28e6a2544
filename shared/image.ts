// Image references: the OCI grammar, anchored, and Docker's normalisation of short names. A reference never reaches a shell.

import { Problem } from './problems.ts'

/** `repo:tag@digest`, with `repository` in full: `hello` is `docker.io/library/hello`. */
export interface ImageRef {
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: string | undefined
  /** The repository as it was written, to write it back the same way. */
  readonly written: string
}

const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const HOST =
  '(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\\[[a-fA-F0-9:]+\\])'
const TAG = '[A-Za-z0-9_][A-Za-z0-9._-]{0,127}'
const REFERENCE = new RegExp(
  `^((?:${HOST}(?::[0-9]{1,5})?/)?${COMPONENT}(?:/${COMPONENT})*)(?::(${TAG}))?(?:@(sha256:[a-f0-9]{64}))?$`,
)
/** What a tag may be, and what a digest. */
export const TAG_PATTERN = new RegExp(`^${TAG}$`)
export const DIGEST_PATTERN = /^sha256:[a-f0-9]{64}$/
const REFERENCE_CHARS_MAX = 512
/** Of a repository in full, as Docker has it: so its full form is no longer than a reference may be, however short it was written. */
const REPOSITORY_CHARS_MAX = 255

/**
 * Reads `hello`, `ghcr.io/acme/hello:v2`, `127.0.0.1:5000/hello@sha256:…`.
 * Returns undefined for everything that the grammar of the OCI distribution specification does not allow.
 */
export function parseImage(text: string): ImageRef | undefined {
  if (text.length > REFERENCE_CHARS_MAX) return undefined
  const match = REFERENCE.exec(text)
  const written = match?.[1]
  if (!match || written === undefined || isCapitalHost(written)) return undefined
  const repository = fullRepository(written)
  if (repository.length > REPOSITORY_CHARS_MAX) return undefined
  return { repository, tag: match[2], digest: match[3], written }
}

/** As parseImage, for a text that must be one. Throws `request-invalid`. */
export function imageRef(text: string): ImageRef {
  const ref = parseImage(text)
  if (!ref)
    throw new Problem('request-invalid', `${JSON.stringify(text.slice(0, 200))} is not an image reference`)
  return ref
}

/** A local image's ID, as `docker image inspect` gives it and as a compose file may pin it. */
export function isImageId(text: string): boolean {
  return DIGEST_PATTERN.test(text)
}

// Docker takes `Acme/hello` for the repository `hello` of a registry `Acme`, which nobody means, and which in full and in lower case would
// be read as `docker.io/acme/hello`: a policy would judge one and Docker pull the other.
function isCapitalHost(written: string): boolean {
  return /^[A-Za-z0-9-]*[A-Z][A-Za-z0-9-]*\//.test(written)
}

// Docker's rule: the first component is a registry if it has a dot or a colon or is `localhost`.
// https://github.com/distribution/reference/blob/main/normalize.go
function fullRepository(written: string): string {
  const slash = written.indexOf('/')
  const registry = slash < 0 ? '' : written.slice(0, slash).toLowerCase()
  const hasRegistry = registry.includes('.') || registry.includes(':') || registry === 'localhost'
  if (!hasRegistry) return `docker.io/${slash < 0 ? `library/${written}` : written}`
  const rest = written.slice(slash + 1)
  if (registry !== 'docker.io' && registry !== 'index.docker.io') return `${registry}/${rest}`
  return `docker.io/${rest.includes('/') ? rest : `library/${rest}`}`
}
