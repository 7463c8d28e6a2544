// compose as the runtime of a roll: the stack's compose files, which of its services are at the wanted version in them, and `docker compose up`.

import { z } from 'zod'
import { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Compose, ComposeModel, Container, Engine, Files } from '../ports.ts'
import type { Warning, WrittenState } from '../roll/proxy.ts'
import { quoted } from '../roll/quoted.ts'
import type { Defined, Runtime, RuntimeDriver, RuntimeSeen, VersionWish } from '../roll/runtime.ts'
import { subsetsOf } from '../roll/subsets.ts'
import { WrittenFile } from '../roll/written-file.ts'
import { checkEdits } from './check-edit.ts'
import { areAsDefined, type Hashes } from './drift.ts'
import { changedTexts, composeTextsWith, type FileTexts } from './edit/texts.ts'
import { checkBlanks } from './unset.ts'
import { warningsOf, warningsOfVariables } from './warnings.ts'

export interface ComposePorts {
  readonly compose: Compose
  readonly files: Files
  readonly engine: Pick<Engine, 'envFiles'>
}

/** What the driver keeps for itself. Plain JSON. */
interface ComposeSeen {
  readonly model: ComposeModel
  readonly texts: FileTexts
  readonly hashes: Hashes
  /** The `--env-file` files that compose is called with; none where it reads `.env` by itself. */
  readonly envFiles: readonly string[]
}

export function composeDriver(ports: ComposePorts): RuntimeDriver {
  const { compose, files, engine } = ports
  return {
    async define(stack, signal) {
      const model = await compose.model(stack, {}, signal)
      return definedBy(model, { model })
    },
    async inspect(stack, defined, signal) {
      const hashes = compose.hashes(stack, signal)
      hashes.catch(() => {}) // awaited at the end; until then another failure may come first
      const texts: Record<string, string> = {}
      for (const path of stack.compose) texts[path] = await files.read(path)
      const { model } = ownOf(defined)
      const envFiles = stack.envFiles ?? (await engine.envFiles(stack.compose, stack.project, signal))
      return definedBy(model, { model, texts, hashes: await hashes, envFiles })
    },
    open: (stack, seen, wish) => new ComposeRuntime(stack, seen, wish, ports),
    endOrphans: (stack, signal) => compose.endOrphans(stack, signal),
  }
}

function definedBy(model: ComposeModel, own: Partial<ComposeSeen>): Defined {
  const services = Object.entries(model.services).map(([name, { image, env, mounts }]) => [
    name,
    { image, env, mounts },
  ])
  return { project: model.project, services: Object.fromEntries(services), own }
}

// Fields that are left out here are trusted as they were written: this host itself keeps them.
const ownSchema = z
  .looseObject({
    model: z.looseObject({ project: z.string(), services: z.record(z.string(), z.looseObject({})) }),
    texts: z.record(z.string(), z.string()).default({}),
    hashes: z.record(z.string(), z.array(z.string())).default({}),
    envFiles: z.array(z.string()).default([]),
  })
  .transform((own) => own as unknown as ComposeSeen)

function ownOf({ own }: Defined): ComposeSeen {
  return ownSchema.parse(own)
}

/** Any image that stands in none of the files shows which of them are edited. The wanted one is not known before its pull, which adds a digest. */
const ANY_IMAGE = 'ropeway.invalid/any:1'
/** Beyond this many services only the sets that a roll passes through by itself are looked for. */
const SUBSETS_SERVICES_MAX = 8

export class ComposeRuntime implements Runtime {
  readonly seen: RuntimeSeen
  readonly #stack: StackConfig
  readonly #own: ComposeSeen
  readonly #wish: VersionWish
  readonly #ports: ComposePorts
  readonly #files: ReadonlyMap<string, WrittenFile>
  #hashes: Hashes
  #updated: ReadonlySet<string> = new Set()

  constructor(stack: StackConfig, seen: RuntimeSeen, wish: VersionWish, ports: ComposePorts) {
    this.seen = seen
    this.#stack = stack
    this.#own = ownOf(seen)
    this.#wish = wish
    this.#ports = ports
    this.#hashes = this.#own.hashes
    const file = ([path, text]: [string, string]): [string, WrittenFile] => [
      path,
      new WrittenFile(ports.files, { path, text, how: 'rename', encoding: 'utf-8' }),
    ]
    this.#files = new Map(Object.entries(this.#own.texts).map(file))
  }

  get updated(): ReadonlySet<string> {
    return this.#updated
  }

  get texts(): FileTexts {
    return Object.fromEntries([...this.#files].map(([path, { text }]) => [path, text]))
  }

  get textsBefore(): FileTexts {
    return this.#own.texts
  }

  get named(): string {
    return this.#stack.compose.join(', ')
  }

  get isAllDefined(): boolean {
    return Object.keys(changedTexts(this.texts, this.#textsWith(this.#wish.order))).length === 0
  }

  textsAfter(count: number): FileTexts {
    return this.#textsWith(this.#wish.order.slice(0, count))
  }

  async checkEdits(signal: AbortSignal): Promise<void> {
    const { order, versionOf } = this.#wish
    const { model, texts } = this.#own
    const targets = order.map((service) => ({ service, to: versionOf(service) }))
    const read = (after: FileTexts) =>
      this.#ports.compose.model(this.#stack, changedTexts(texts, after), signal)
    await checkEdits(this.#stack, { model, texts }, targets, (count) => read(this.textsAfter(count)))
  }

  checkComplete(containers: readonly Container[]): void {
    checkBlanks(this.#stack, { model: this.#own.model, hashes: this.#hashes }, containers, this.#wish.order)
  }

  async checkWritable(): Promise<void> {
    const { order, versionOf } = this.#wish
    const after = composeTextsWith(this.#own.texts, order, (service) => {
      const { image, env } = versionOf(service)
      return { image: image === undefined ? undefined : ANY_IMAGE, env }
    })
    for (const path of Object.keys(changedTexts(this.#own.texts, after)))
      await this.#files.get(path)?.checkWritable()
  }

  areAsDefined(service: string, containers: readonly Container[]): boolean {
    return areAsDefined(containers, this.#hashes[service])
  }

  warnings(
    services: ReadonlyMap<string, readonly Container[]>,
    repinned: readonly string[],
  ): readonly Warning[] {
    return [
      ...warningsOf(this.#stack, services, this.#hashes, this.#own.envFiles),
      ...warningsOfVariables(this.#own.texts, repinned),
    ]
  }

  async define(updated: ReadonlySet<string>): Promise<void> {
    const after = this.#textsWith(this.#wish.order.filter((service) => updated.has(service)))
    for (const [path, text] of Object.entries(changedTexts(this.texts, after)))
      await this.#files.get(path)?.write(text, () => {
        const what = `somebody else changed ${path} during the roll`
        return new Problem('compose-changed', what, { cure: 'see what they wrote, then deploy again' })
      })
    this.#updated = new Set(updated)
  }

  // Each file is judged by itself: a crash may have come between the writes to two files in one update.
  async resume(): Promise<Problem | undefined> {
    const candidates = this.#candidates()
    const updated = new Set<string>()
    let changed: Problem | undefined
    for (const [path, file] of this.#files) {
      const text = await file.resume()
      const found = candidates.find(({ texts }) => texts[path] === text)
      for (const service of found?.set ?? []) updated.add(service)
      if (!found)
        changed ??= new Problem('compose-changed', `${path} is not as any step of the roll wrote it`, {
          cure: 'see what changed there',
        })
    }
    if (!changed) this.#updated = updated
    return changed
  }

  async look(signal: AbortSignal): Promise<void> {
    this.#hashes = await this.#ports.compose.hashes(this.#stack, signal)
  }

  async checkAsWritten(): Promise<void> {
    for (const [path, file] of this.#files)
      if ((await file.read()) !== file.text)
        throw new Problem('compose-changed', `${path} is not what the roll left`, {
          cure: 'see who changed it',
        })
  }

  async tidy(): Promise<void> {
    for (const file of this.#files.values()) await file.tidy()
  }

  async files(): Promise<readonly WrittenState[]> {
    const wanted = this.#textsWith(this.#wish.order)
    const candidates = this.#candidates()
    const states = [...this.#files].map(async ([path, file]): Promise<WrittenState> => {
      const before = this.#own.texts[path] ?? ''
      const text = await file.read().catch(() => undefined)
      if (text === undefined) return { path, before, state: 'unreadable' }
      if (text === before) return { path, before, state: 'as-before' }
      if (text === wanted[path]) return { path, before, state: 'as-wanted' }
      const isOurs = candidates.find(({ texts }) => texts[path] === text) !== undefined
      return { path, before, state: isOurs ? 'half-way' : 'changed' }
    })
    return await Promise.all(states)
  }

  async run(
    service: string,
    { recreate }: { readonly recreate: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#ports.compose.up(this.#stack, service, signal, { recreate })
  }

  async runOnce(
    service: string,
    { command, name, by }: Parameters<Runtime['runOnce']>[1],
    signal: AbortSignal,
  ): Promise<{ readonly exitCode: number; readonly log: string[] }> {
    const wanted = by === 'wanted' ? this.#textsWith(this.#wish.order) : this.#own.texts
    const replaced = changedTexts(this.#own.texts, wanted)
    return await this.#ports.compose.run(this.#stack, service, { command, name, replaced }, signal)
  }

  repair(services: readonly string[]): string {
    const { compose, project, profiles } = this.#stack
    return [
      'docker compose',
      ...compose.map((path) => `-f ${quoted(path)}`),
      ...this.#own.envFiles.map((path) => `--env-file ${quoted(path)}`),
      ...(project === undefined ? [] : [`-p ${quoted(project)}`]),
      ...profiles.map((profile) => `--profile ${quoted(profile)}`),
      'up -d --no-deps --pull never',
      ...services.map(quoted),
    ].join(' ')
  }

  /** Every text that the roll may have given each file, with the services that are updated by it. */
  #candidates() {
    return memoized(setsOf(this.#wish.order), (set) => ({ set, texts: this.#textsWith(set) }))
  }

  #textsWith(services: readonly string[]): FileTexts {
    return composeTextsWith(this.#own.texts, services, (service) => this.#wish.versionOf(service))
  }
}

// The way there passes through the first so many services of the order. Where a service had died, the way back passes through other sets. There are
// some 2^N of those, so they come last.
function* setsOf(order: readonly string[]): Generator<readonly string[]> {
  for (let count = 0; count <= order.length; count += 1) yield order.slice(0, count)
  if (order.length > SUBSETS_SERVICES_MAX) return
  yield* subsetsOf(order)
}

/** Makes something of each value: when it is first looked at, and only once. */
function memoized<T, U>(
  values: Iterable<T>,
  make: (value: T) => U,
): { find(is: (made: U) => boolean): U | undefined } {
  const made: U[] = []
  const rest = values[Symbol.iterator]()
  return {
    find(is) {
      const known = made.find(is)
      if (known !== undefined) return known
      for (let next = rest.next(); !next.done; next = rest.next()) {
        const one = make(next.value)
        made.push(one)
        if (is(one)) return one
      }
      return undefined
    },
  }
}
