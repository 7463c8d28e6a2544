// Where an nginx runs: what has to be done there, whatever the place is.

import type { Process, Remote } from '../ports.ts'

export interface Place {
  /** For a person, as `service nginx`. */
  readonly name: string
  /** The command by which a person starts it. */
  readonly startCommand: string
  /** Runs a program there. `stdout` byte for byte, one character a byte; `stderr` as text. */
  exec(
    argv: readonly string[],
    signal: AbortSignal,
  ): Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }>
  /** A file as nginx sees it, one character a byte. */
  readFile(path: string, signal: AbortSignal): Promise<string>
  processes(signal: AbortSignal): Promise<readonly Process[]>
  /** How many ESTABLISHED TCP connections there are from there to these, at one moment. */
  connections(remotes: readonly Remote[], signal: AbortSignal): Promise<number>
  /** Tells a master process to reload. False where no signal reaches it from here. */
  hangUp(master: Process, signal: AbortSignal): Promise<boolean>
  /** What it has written to its standard output since a time, in milliseconds since 1970. */
  outputSince(sinceMs: number, signal: AbortSignal): Promise<string>
  /** The last lines that it has written. */
  log(lines: number, signal: AbortSignal): Promise<string[]>
}
