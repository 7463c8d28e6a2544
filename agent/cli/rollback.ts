// `ropeway rollback STACK`: shows what it goes back to, asks, and follows the roll.

import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import type { ReleaseState } from '../../shared/api.ts'
import { DEPLOYS_LISTED_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { rollbackRequestSchema, type RollbackRequest } from '../../shared/request.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { releases, rollback } from './api/api.ts'
import { remote } from './access.ts'
import { followAccepted } from './follow.ts'
import { EXIT, print, type Io, type RemoteOptions } from './io.ts'
import { describeRelease } from './releases.ts'

export interface RollbackOptions extends RemoteOptions {
  readonly to?: string
  readonly yes?: boolean
  readonly reason?: string
  /** False for --no-wait. */
  readonly wait: boolean
}

export async function run(stack: string, options: RollbackOptions, io: Io): Promise<number> {
  const { yes = false, json = false } = options
  const asked = requestOf(options)
  if (!yes && !io.stdin.isTTY)
    throw new Problem('usage-invalid', 'there is no terminal to ask on, whether to go back', {
      cure: 'say --yes',
    })
  const access = await remote(options, io)
  access.checkStack(stack)
  const readToken = await access.token({ scopes: ['read'], stack })
  const known = await releases(access, { stack, limit: DEPLOYS_LISTED_MAX }, readToken, io.signal)
  const target = targetOf(known, asked.release)
  // With --no-wait the standard output is the deploy's id, for a script.
  const say = options.wait
    ? (line: string) => print(io, line)
    : (line: string) => io.stderr.write(`${line}\n`)
  if (!json) for (const line of shown(stack, known, target ?? asked.release)) say(line)
  if (!yes && !(await isConfirmed(io))) {
    io.stderr.write('ropeway: nothing was done\n')
    return EXIT.failed
  }
  // What was shown is what is asked for, whatever is deployed meanwhile.
  const body = JSON.stringify({ ...asked, release: target?.release ?? asked.release })
  const bodySha256 = await sha256Hex(new TextEncoder().encode(body))
  const token = await access.token({ scopes: ['rollback'], stack, bodySha256 })
  const accepted = await rollback(access, { stack, body, idempotencyKey: randomUUID() }, token, io.signal)
  return followAccepted(access, accepted, { json, stack, wait: options.wait }, io)
}

function requestOf({ to, reason }: RollbackOptions): RollbackRequest {
  const release = to === undefined || to === 'previous' ? 'previous' : Number(to)
  const parsed = rollbackRequestSchema.safeParse({ release, ...(reason === undefined ? {} : { reason }) })
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.map(({ path, message }) =>
    path[0] === 'reason' ? `--reason ${message}` : `--to ${to} is no release’s number`,
  )
  throw new Problem('usage-invalid', faults.join('; '))
}

/** As the agent finds it; undefined where the relay's log does not reach so far, and the agent alone knows. */
function targetOf(
  known: readonly ReleaseState[],
  wanted: RollbackRequest['release'],
): ReleaseState | undefined {
  if (wanted !== 'previous') return known.find(({ release }) => release === wanted)
  const current = known.find(({ isCurrent }) => isCurrent)
  const origin = current && (current.of ?? current.release)
  // The next lower number, or none: of one in between that is not known here the agent may know.
  return known.find(({ release }) => origin !== undefined && release === origin - 1)
}

function shown(
  stack: string,
  known: readonly ReleaseState[],
  target: ReleaseState | RollbackRequest['release'],
): string[] {
  const current = known.find(({ isCurrent }) => isCurrent)
  const [runs = '', ...running] = current ? describeRelease(current) : ['what the relay’s log does not tell']
  const [back = '', ...images] =
    typeof target === 'object'
      ? describeRelease(target)
      : [`${target === 'previous' ? 'the release before that' : `release ${target}`}, as the agent has it`]
  return [`${stack} runs ${runs}`, ...running, `it goes back to ${back}`, ...images]
}

async function isConfirmed(io: Io): Promise<boolean> {
  io.stderr.write('Go back? [y/N] ')
  // Not as a terminal: that would take Ctrl-C for itself.
  const lines = createInterface({ input: io.stdin, terminal: false, signal: io.signal })
  try {
    for await (const line of lines) return /^y(es)?$/i.test(line.trim())
    return false
  } finally {
    lines.close()
  }
}
