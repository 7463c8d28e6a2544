// The image store of the engine, and the registry behind it. An image's mode says how a container of it behaves.

import { createHash } from 'node:crypto'
import type { Image } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'

export type Mode =
  | 'ok'
  | 'exits'
  /** Answers 500 to everything. */
  | 'sick'
  /** Answers 200, 500, 200, 500, … */
  | 'flaps'
  /** Takes connections, and never answers. */
  | 'hangs'
  | 'never-listens'
  | 'crashes'
  | 'restarts'

/** How the app in a container answers. */
export interface App {
  readonly mode: Mode
  /** Statuses by path; `*` is for those not named. 200 where nothing is said. */
  readonly pages: Readonly<Record<string, number>>
  /** The host names that it knows, where it answers 400 to all others. */
  readonly hosts: readonly string[] | undefined
  /** `mtls`: TLS for who has a certificate, as nginx. */
  readonly speaks: 'http' | 'https' | 'mtls' | 'fastcgi'
}

/** An app that crashes does so this long after it listens: just after two probes found it healthy. */
const CRASH_MS = 260

export interface FakeImage extends Omit<Image, 'tags' | 'unproven'>, App {
  readonly startMs: number
  readonly crashMs: number
  readonly env: Readonly<Record<string, string>>
}

export type FakeImageOptions = Partial<Omit<FakeImage, 'id'>>

export function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

export function fakeImage(name: string, options: FakeImageOptions = {}): FakeImage {
  return {
    id: sha256(name),
    digests: [],
    platform: 'linux/amd64',
    mode: 'ok',
    pages: {},
    hosts: undefined,
    speaks: 'http',
    startMs: 120,
    crashMs: CRASH_MS,
    env: { VERSION: name },
    ...options,
  }
}

export class FakeImages {
  readonly #local = new Map<string, FakeImage>()
  readonly #registry = new Map<string, FakeImage>()
  /** Of a store that makes a digest of every name that an image has here, and does not tell which a registry knows. */
  isContainerd = false

  /** An image that was built on this host. */
  build(ref: string, image: FakeImage = fakeImage(ref)): FakeImage {
    this.#local.set(withTag(ref), image)
    this.#local.set(image.id, image)
    return image
  }

  /** An image in the registry, under a tag and its digest. */
  push(ref: string, image: FakeImage = fakeImage(ref)): FakeImage {
    const repository = withTag(ref).replace(/:[^:/]+$/, '')
    const digest = `${repository}@${sha256(`manifest of ${image.id}`)}`
    const pushed = { ...image, digests: [digest] }
    this.#registry.set(withTag(ref), pushed)
    this.#registry.set(digest, pushed)
    return pushed
  }

  pull(ref: string): void {
    const image = this.#registry.get(key(ref))
    if (!image)
      throw new Problem('image-not-found', `docker pull ${ref} failed`, {
        log: [`manifest for ${ref} not found`],
      })
    this.#local.set(key(ref), image)
    this.#local.set(image.id, image)
    for (const digest of image.digests) this.#local.set(digest, image)
  }

  isPushed(digest: string): boolean {
    return this.#registry.has(key(digest))
  }

  tag(id: string, ref: string): void {
    const image = this.#local.get(id)
    if (!image) throw new Problem('image-not-found', `no such image ${id}`)
    this.#local.set(withTag(ref), image)
  }

  /** Takes a name away; the image goes with its last one. */
  untag(ref: string, inUse: ReadonlySet<string>): boolean {
    const image = this.#local.get(key(ref))
    if (!image) return false
    const isLast = [...this.#local].every(
      ([name, { id }]) => id !== image.id || name === id || name === key(ref),
    )
    if (isLast && inUse.has(image.id)) return false
    this.#local.delete(key(ref))
    if (isLast) this.#local.delete(image.id)
    return true
  }

  /** What the engine says of where an image is from. */
  originOf({ id, digests }: FakeImage): Pick<Image, 'digests' | 'unproven'> {
    if (!this.isContainerd) return { digests, unproven: [] }
    const names = this.tagsOf(id).map(
      (tag) => `${tag.replace(/:[^:/]+$/, '')}@${sha256(`manifest of ${id}`)}`,
    )
    return { digests: [], unproven: [...new Set([...digests, ...names])] }
  }

  tagsOf(id: string): string[] {
    return [...this.#local].filter(([ref, image]) => image.id === id && isTag(ref)).map(([ref]) => ref)
  }

  /** Whatever a name means: here, and in the registry. */
  idsOf(ref: string): string[] {
    const found = [this.#local.get(key(ref)), this.#registry.get(key(ref))]
    return found.flatMap((image) => image?.id ?? [])
  }

  find(ref: string): FakeImage | undefined {
    return this.#local.get(key(ref))
  }
}

// Of `repo:tag@digest` the engine takes the digest.
function key(ref: string): string {
  if (ref.startsWith('sha256:')) return ref
  const [name = '', digest] = ref.split('@')
  return digest === undefined ? withTag(ref) : `${name.replace(/:[^:/]+$/, '')}@${digest}`
}

function withTag(ref: string): string {
  return /:[^:/]+$/.test(ref) ? ref : `${ref}:latest`
}

function isTag(ref: string): boolean {
  return !ref.includes('@') && !ref.startsWith('sha256:')
}
