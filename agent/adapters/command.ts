// Runs a program without a shell: arguments are an array, output is bounded, the signal ends it.

import { spawn } from 'node:child_process'
import { LOG_LINE_CHARS_MAX, LOG_LINES_MAX } from '../../shared/limits.ts'

/** More than any honest answer of docker or compose; what comes after it is dropped. */
const OUTPUT_CHARS_MAX = 16 * 1024 * 1024
/** SIGKILL takes milliseconds; a process that the kernel cannot end (a dead disk) is not waited for any longer. */
const KILL_MS_MAX = 1000

export interface Result {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly signal: AbortSignal
  readonly input?: string | undefined
  /** Besides this process's own. */
  readonly env?: Readonly<Record<string, string>>
  readonly onLine?: (line: string) => void
  /** Both outputs, in the order in which they come. */
  readonly onText?: (text: string) => void
}

/** Resolves with whatever exit code there is; rejects only when the program cannot be started or the signal aborts, and then once it has ended. */
export function run(file: string, args: readonly string[], options: CommandOptions): Promise<Result> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const env = { ...process.env, ...options.env }
    const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    let partial = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < OUTPUT_CHARS_MAX) stdout += text
      options.onText?.(text)
      if (!options.onLine) return
      const lines = (partial + text).split('\n')
      partial = lines.pop() ?? ''
      lines.forEach(options.onLine)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < OUTPUT_CHARS_MAX) stderr += text
      options.onText?.(text)
    })
    // What it was doing must be over before anybody clears up after it: a polite end would go on working at the engine.
    const onAbort = () => {
      child.kill('SIGKILL')
      setTimeout(() => reject(signal.reason), KILL_MS_MAX).unref()
    }
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    child.on('error', (error) => end(() => reject(signal.aborted ? signal.reason : error)))
    child.on('exit', () => signal.aborted && end(() => reject(signal.reason)))
    child.on('close', (code) => end(() => resolve({ exitCode: code ?? 1, stdout, stderr })))
    child.stdin.on('error', () => {}) // a program that does not read its input is free not to
    child.stdin.end(options.input ?? '')
  })
}

/** The end of a program's output, as an event may carry it. */
export function lastLines(text: string): string[] {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .slice(-LOG_LINES_MAX)
    .map((line) => line.slice(0, LOG_LINE_CHARS_MAX))
}
