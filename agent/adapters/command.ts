// Runs a program without a shell: arguments are an array, output is bounded, the signal ends it.

import { spawn } from 'node:child_process'

/** More than any honest answer of docker or compose; what comes after it is dropped. */
const OUTPUT_CHARS_MAX = 16 * 1024 * 1024

export interface Result {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly signal: AbortSignal
  readonly input?: string | undefined
  readonly cwd?: string
  readonly onLine?: (line: string) => void
}

/** Resolves with whatever exit code there is; rejects only when the program cannot be started or the signal aborts. */
export function run(file: string, args: readonly string[], options: CommandOptions): Promise<Result> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { signal, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    let partial = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < OUTPUT_CHARS_MAX) stdout += text
      if (!options.onLine) return
      const lines = (partial + text).split('\n')
      partial = lines.pop() ?? ''
      lines.forEach(options.onLine)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < OUTPUT_CHARS_MAX) stderr += text
    })
    child.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    child.on('close', (code) => {
      if (signal.aborted) reject(signal.reason)
      else resolve({ exitCode: code ?? 1, stdout, stderr })
    })
    child.stdin.on('error', () => {}) // a program that does not read its input is free not to
    child.stdin.end(options.input ?? '')
  })
}
