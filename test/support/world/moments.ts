// What must hold at every moment of every roll, whatever happens: looked at after each single transition of the world. It knows the
// user's files and what was asked for, and nothing of how a roll goes about it.

import type { StackConfig } from '../../../agent/config/config.ts'
import type { Release } from '../../../agent/roll/releases/release.ts'
import { Problem } from '../../../shared/problems.ts'
import { isRollback, type AnyRequest, type DeployRequest } from '../../../shared/request.ts'
import type { FakeCompose } from './compose.ts'
import type { Containers, FakeContainer } from './containers.ts'
import type { FakeFiles } from './files.ts'
import type { FakeImages } from './images.ts'
import { readUpstream } from './nginx-text.ts'
import type { Traffic } from './traffic.ts'

export interface Watched {
  readonly files: FakeFiles
  readonly compose: FakeCompose
  readonly containers: Containers
  readonly images: FakeImages
  readonly traffic: Traffic
  readonly stack: StackConfig
  /** The nginx file on the host, and the services of its upstream. */
  readonly proxyPath: string
  readonly instances: readonly string[]
  readonly people: { isUnsettled(service: string): boolean }
}

type Texts = Readonly<Record<string, string>>

export class Moments {
  readonly #world: Watched
  /** The user's files as they would be with no roll under way. A person's edits count, a roll's do not. */
  #own: Texts
  /** The versions that a service may have: what ran before, and what was asked for. */
  #versions = new Map<string, Set<string>>()
  /** The texts that a file was found right with: they come again and again. */
  #right = new Set<string>()
  /** How many transitions were looked at. */
  count = 0
  readonly failures = new Map<string, number>()
  onFailure: (why: string) => void = () => {}

  constructor(world: Watched) {
    this.#world = world
    this.#own = this.#texts()
  }

  /** A deploy begins from here: these are the versions that there may be from now on. */
  begin(request: AnyRequest, releases: readonly Release[]): void {
    this.#own = this.#texts()
    this.#right.clear()
    for (const service of this.#world.instances) {
      const now = this.#versionsNow(service)
      const wanted = isRollback(request) ? releasedOf(service, releases) : this.#wanted(service, request)
      this.#versions.set(service, new Set([...now, ...wanted]))
    }
  }

  /** A tag means another image from now on. */
  mayRun(imageId: string): void {
    for (const versions of this.#versions.values())
      for (const version of new Set(versions))
        versions.add(`${imageId}${version.slice(version.indexOf(' '))}`)
  }

  /** A person has edited a file of theirs: this is what it is without a roll, too. */
  edited(path: string, edit: (text: string) => string): void {
    this.#own = { ...this.#own, [path]: edit(this.#own[path] ?? '') }
    this.#right.clear()
  }

  /** The user's file as it would be with no roll under way. */
  own(path: string): string {
    return this.#own[path] ?? ''
  }

  look(): void {
    this.count += 1
    this.#world.traffic.look()
    this.#lookAtFiles()
    this.#lookAtContainers()
  }

  #lookAtFiles(): void {
    const { files, proxyPath, stack } = this.#world
    if (files.isTorn) return // nobody reads it before the next agent comes
    const nginx = files.text(proxyPath)
    const compose = stack.compose.map((path) => files.text(path))
    if (!this.#right.has(nginx)) {
      const wrong = faultOfUpstream(nginx, this.#own[proxyPath] ?? '')
      if (wrong === undefined) this.#right.add(nginx)
      else this.#fail(`the nginx file ${wrong}`)
    }
    if (compose.every((text) => this.#right.has(text))) return
    const wrong = this.#faultOfCompose()
    if (wrong === undefined) for (const text of compose) this.#right.add(text)
    else this.#fail(wrong)
  }

  // Whatever an edit may change is taken away on both sides; the rest must be the user's, byte for byte.
  #faultOfCompose(): string | undefined {
    const { files, stack, instances } = this.#world
    for (const path of stack.compose)
      if (withoutVersions(files.text(path)) !== withoutVersions(this.#own[path] ?? ''))
        return `${path} is not the user’s but for images and variables`
    const [before, now] = [this.#read(this.#own), this.#read()]
    if (!before || !now) return before && 'compose refuses its files'
    for (const [service, { definition }] of Object.entries(now.services)) {
      const was = before.services[service]?.definition
      if (!instances.includes(service) && JSON.stringify(was) !== JSON.stringify(definition))
        return `the compose file changes ${service}`
      // Image and variable each by itself: they may stand in two files, which are written one after the other.
      const known = [...(this.#versions.get(service) ?? [])]
      const [id, message] = [this.#idOf(String(definition['image'])), now.services[service]?.env['MESSAGE']]
      const isKnown =
        known.some((one) => one.startsWith(`${id} `)) && known.some((one) => one.endsWith(` ${message}`))
      if (known.length > 0 && !isKnown && was?.['image'] !== definition['image'])
        return `the compose file gives ${service} a version that nobody asked for: ${id} ${message}`
    }
    return undefined
  }

  #lookAtContainers(): void {
    const { containers, instances, traffic, people } = this.#world
    let disturbed = 0
    for (const service of instances) {
      const all = containers.ofService(service)
      const known = this.#versions.get(service)
      const odd = all.find((one) => known && !known.has(versionOf(one)))
      if (odd) this.#fail(`${service} runs a version that nobody asked for: ${versionOf(odd)}`)
      if (people.isUnsettled(service) || all.some((one) => traffic.isExcused(one))) continue
      if (!all.some(({ state }) => state === 'running')) disturbed += 1
    }
    if (disturbed > 1) this.#fail(`${disturbed} services have no running container at a time`)
  }

  #versionsNow(service: string): string[] {
    const { containers } = this.#world
    const written = this.#read()?.services[service]
    return [
      ...containers.ofService(service).map(versionOf),
      ...(written ? [`${this.#idOf(written.image)} ${written.env['MESSAGE']}`] : []),
    ]
  }

  #wanted(service: string, { image, tag, digest, env }: DeployRequest): string[] {
    const name = this.#read()?.services[service]?.image.replace(/@.*/, '')
    const repository = name?.replace(/:[^:/]+$/, '')
    const inRepository = digest ? `${repository}@${digest}` : tag && `${repository}:${tag}`
    // Nothing asked for is today's tag again, which may mean another image by now.
    const asked = image ?? inRepository ?? (env ? undefined : name)
    const ids = asked === undefined ? [] : this.#world.images.idsOf(asked)
    const message = env?.['MESSAGE']?.replaceAll('{service}', service)
    return this.#versionsNow(service).flatMap((version) => {
      const at = version.indexOf(' ')
      const [id, today] = [version.slice(0, at), version.slice(at + 1)]
      return (ids.length > 0 ? ids : [id]).map((one) => `${one} ${message ?? today}`)
    })
  }

  // Undefined where compose refuses the files.
  #read(texts: Texts = {}): ReturnType<FakeCompose['read']> | undefined {
    try {
      return this.#world.compose.read(this.#world.stack, texts)
    } catch (error) {
      if (error instanceof Problem) return undefined
      throw error
    }
  }

  #idOf(image: string): string | undefined {
    return this.#world.images.find(image)?.id
  }

  #texts(): Texts {
    const { files, stack, proxyPath } = this.#world
    return Object.fromEntries([proxyPath, ...stack.compose].map((path) => [path, files.text(path)]))
  }

  #fail(why: string): void {
    const count = this.failures.get(why) ?? 0
    this.failures.set(why, count + 1)
    if (count === 0) this.onFailure(why)
  }
}

export function versionOf({ imageId, env }: FakeContainer): string {
  return `${imageId} ${env['MESSAGE']}`
}

function releasedOf(service: string, releases: readonly Release[]): string[] {
  return releases.flatMap(({ services }) => {
    const released = services[service]
    return released ? [`${released.imageId} ${released.env['MESSAGE']}`] : []
  })
}

// The values that a deploy may set, wherever they stand.
function withoutVersions(text: string): string {
  return text.replaceAll(/image: .*|MESSAGE=[^'"\n]*/g, '')
}

// What a roll may put to a server's parameters, or take from them.
function withoutParameters(text: string): string {
  return text.replaceAll(/ (down|max_fails=\d+)(?=[ ;])/g, '')
}

/** What a roll may write for a name that does not resolve, of a server that it has taken out. */
const NOWHERE = '127.0.0.1'

function withNames(text: string, own: string): string {
  const lines = own.split('\n')
  return text
    .split('\n')
    .map((line, index) =>
      /^\s*server 127\.0\.0\.1:1\b.* down\b/.test(line)
        ? line.replace('127.0.0.1:1', /server ([^\s;]+)/.exec(lines[index] ?? '')?.[1] ?? '')
        : line,
    )
    .join('\n')
}

/** What is wrong with an nginx file that a roll has had its hands on, beside the user's own; undefined when nothing is. */
function faultOfUpstream(text: string, own: string): string | undefined {
  if (withoutParameters(withNames(text, own)) !== withoutParameters(own))
    return 'is not the user’s but for `down` and `max_fails`'
  const [servers, before] = [readUpstream(text), readUpstream(own)]
  if (typeof servers === 'string' || typeof before === 'string') return 'has no upstream that nginx takes'
  const out = servers.filter(
    ({ isDown, host }, index) => isDown && !before[index]?.isDown && host !== NOWHERE,
  )
  if (out.length > 1) return 'has several servers down'
  if (servers.some(({ isDown }, index) => !isDown && before[index]?.isDown))
    return 'has lost a `down` of the user’s'
  if (out.length === 0 && servers.every(({ host }) => host !== NOWHERE))
    return text === own ? undefined : 'has nobody out, and is not the user’s'
  const strict = servers.find(({ isDown, forgives }) => !isDown && !forgives)
  return strict && `has ${strict.host} without max_fails=0 while another is down`
}
