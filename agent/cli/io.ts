// What main hands to every command: the world around the process. A command returns its exit code, or throws a Problem.

export interface Io {
  readonly env: NodeJS.ProcessEnv
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  /** The first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
  readonly version: string
}

export interface ConfigOptions {
  readonly config?: string
  readonly data: string
  readonly json?: boolean
}

/** For commands that work with a token alone, without the host's own files. */
export interface RemoteOptions extends ConfigOptions {
  readonly relay?: string
  readonly host?: string
}

export const EXIT = { success: 0, failed: 1, usage: 2 } as const

/** A time that is the same for people of every zone, to the second. */
export function when(at: number): string {
  return new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
}

export function print(io: Io, text: string): void {
  io.stdout.write(`${text}\n`)
}
