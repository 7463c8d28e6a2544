#!/usr/bin/env node
// The process around the command line: its environment, its signals, its exit code.

import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { EXIT } from './cli/io.ts'
import { runProgram } from './cli/program.ts'

/** After a command is done, for what it left open; then the process ends regardless. */
const LINGER_MS_MAX = 1000

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader has gone, as `head` does: there is nobody left to write to.
  if (error.code === 'EPIPE') process.exit(EXIT.failed)
  throw error
})

process.exitCode = await runProgram(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: firstSignal(),
  version: versionOf(),
})
setTimeout(() => process.exit(), LINGER_MS_MAX).unref()

// The first signal asks the command to end; a second one has Node's own effect and ends the process.
function firstSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort())
  return controller.signal
}

function versionOf(): string {
  const path = findPackageJSON(import.meta.url)
  return path === undefined
    ? 'unknown'
    : (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}
