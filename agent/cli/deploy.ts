// `ropeway deploy STACK`: asks for a deploy through the relay, as every other sender does, and follows it.

import { randomUUID } from 'node:crypto'
import { deployRequestSchema } from '../../shared/request.ts'
import { Problem } from '../../shared/problems.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { deploy } from './api/api.ts'
import { remote } from './access.ts'
import { followAccepted } from './follow.ts'
import type { Io, RemoteOptions } from './io.ts'

export interface DeployOptions extends RemoteOptions {
  readonly image?: string
  readonly tag?: string
  readonly digest?: string
  readonly env?: readonly string[]
  readonly reason?: string
  readonly force?: boolean
  readonly builtAt?: string
  /** False for --no-wait. */
  readonly wait: boolean
}

export async function run(stack: string, options: DeployOptions, io: Io): Promise<number> {
  const body = requestBody(options)
  const access = await remote(options, io)
  access.checkStack(stack)
  const bodySha256 = await sha256Hex(new TextEncoder().encode(body))
  const token = await access.token({ scopes: ['deploy'], stack, bodySha256 })
  const accepted = await deploy(access, { stack, body, idempotencyKey: randomUUID() }, token, io.signal)
  return followAccepted(access, accepted, { json: options.json, stack, wait: options.wait }, io)
}

export type Wish = Pick<DeployOptions, 'image' | 'tag' | 'digest' | 'env' | 'reason' | 'force' | 'builtAt'>

/** The request as JSON, checked here so that a typing error needs no relay to be found. */
export function requestBody({ image, tag, digest, env, reason, force, builtAt }: Wish): string {
  const request = {
    ...(image === undefined ? {} : { image }),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
    ...(env === undefined ? {} : { env: Object.fromEntries(env.map(assignment)) }),
    ...(reason === undefined ? {} : { reason }),
    ...(force ? { force } : {}),
    ...(builtAt === undefined ? {} : { builtAt }),
  }
  const parsed = deployRequestSchema.safeParse(request)
  if (parsed.success) return JSON.stringify(parsed.data)
  const faults = parsed.error.issues.map(({ path, message }) => {
    const [option, ...rest] = path
    return option === 'builtAt'
      ? `--built-at ${builtAt} is not a time as 2026-11-25T09:30:00Z`
      : `--${[option, ...rest].join(' ')} ${message}`
  })
  throw new Problem('usage-invalid', faults.join('; '))
}

function assignment(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new Problem('usage-invalid', `--env ${text} is not KEY=VALUE`)
}
