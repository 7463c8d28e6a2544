// The port of the runtime, which makes a stack run as its files define it. Only its driver knows which files, and how: compose's is in agent/compose.

import type { Version } from '../../shared/plan.ts'
import type { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Container, Mount } from '../ports.ts'
import type { Warning, WrittenState } from './proxy.ts'

export interface RuntimeDriver {
  /** What the stack's files say. Throws `compose-invalid`, `file-unusable`. Touches nothing. */
  define(stack: StackConfig, signal: AbortSignal): Promise<Defined>
  /** Sees the rest, which takes a while longer. */
  inspect(stack: StackConfig, defined: Defined, signal: AbortSignal): Promise<RuntimeSeen>
  /** The stack as it was seen, ready for a roll: no service is updated. */
  open(stack: StackConfig, seen: RuntimeSeen, wish: VersionWish): Runtime
  /** Ends what an earlier agent process has left running for this stack. Resolves once it is gone. */
  endOrphans(stack: StackConfig, signal: AbortSignal): Promise<void>
}

export interface Defined {
  /** The name that all containers of the stack share: compose's project. */
  readonly project: string
  readonly services: Readonly<Record<string, DefinedService>>
  /** What the driver keeps for itself. The roll does not read it. */
  readonly own: unknown
}

export interface DefinedService {
  readonly image: string | undefined
  readonly env: Readonly<Record<string, string | null>>
  readonly mounts: readonly Mount[]
}

/** What was seen of a stack. Plain JSON: the roll's record keeps it. */
export type RuntimeSeen = Defined

/** What each service is to run, in rolling order. `versionOf` is asked anew each time: a pull adds an image's digest. */
export interface VersionWish {
  readonly order: readonly string[]
  versionOf(service: string): Version
}

/** Texts by path. */
export type Texts = Readonly<Record<string, string>>

export interface Runtime extends Judged, Defining, Running {
  readonly seen: RuntimeSeen
}

/** What can be known before anything moves. */
export interface Judged {
  /** The files with the first `count` services of the order at their wanted version. */
  textsAfter(count: number): Texts
  /** The files as they were seen. */
  readonly textsBefore: Texts
  /** Throws unless the edits mean what is wanted and nothing else: `compose-edit-spills`, `compose-not-editable`, `compose-invalid`. */
  checkEdits(signal: AbortSignal): Promise<void>
  /** Throws `compose-invalid` where a service would be recreated without a value that its containers have. */
  checkComplete(containers: readonly Container[]): void
  /** Throws `file-unusable` where the files could not be written. Writes nothing. */
  checkWritable(): Promise<void>
  /** Whether containers are as their service is defined. One that the runtime has not made cannot be judged, and passes. */
  areAsDefined(service: string, containers: readonly Container[]): boolean
  /** The files that define it, for a person. */
  readonly named: string
  /** What a person should know of these services' definition before a roll, with their containers. `repinned`: those that get another image. */
  warnings(
    services: ReadonlyMap<string, readonly Container[]>,
    repinned: readonly string[],
  ): readonly Warning[]
}

/** Which version is written. */
export interface Defining {
  /** The services that are at their wanted version by the files as they were written last. */
  readonly updated: ReadonlySet<string>
  /** Writes the files with these services at their wanted version. Throws `compose-changed` rather than overwrite what somebody else wrote. */
  define(updated: ReadonlySet<string>): Promise<void>
  /** Whether the files, as they were last written, have every service at its wanted version. */
  readonly isAllDefined: boolean
  /** After a crash: finds out which services have the wanted version in the files. Resolves with `compose-changed` where somebody else wrote them. */
  resume(): Promise<Problem | undefined>
  /** Takes note of what the files define now. */
  look(signal: AbortSignal): Promise<void>
  /** The files as they were written last. */
  readonly texts: Texts
  /** Throws `compose-changed` unless the files are as they were written last. */
  checkAsWritten(): Promise<void>
  /** Removes what a write that was killed has left. */
  tidy(): Promise<void>
  files(): Promise<readonly WrittenState[]>
}

/** What makes containers run by the files. */
export interface Running {
  /** Makes one service run as the files say, touches no other, and pulls nothing. `recreate`: even where nothing changes. Throws `compose-failed`. */
  run(service: string, options: { readonly recreate: boolean }, signal: AbortSignal): Promise<void>
  /**
   * Runs a command in a one-off container of a service, under this name. `by`: the files as they are, or as they are to be in the end. Resolves with
   * the exit code and the last lines of output. An abort may leave the container behind.
   */
  runOnce(
    service: string,
    options: {
      readonly command: readonly string[]
      readonly name: string
      readonly by: 'present' | 'wanted'
    },
    signal: AbortSignal,
  ): Promise<{ readonly exitCode: number; readonly log: string[] }>
  /** The command by which a person makes these services run as the files say. */
  repair(services: readonly string[]): string
}
