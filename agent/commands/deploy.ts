// `ropeway deploy STACK`: asks for a deploy through the relay, as every other sender does, and follows it.

import { randomUUID } from 'node:crypto'
import { deployRequestSchema } from '../../shared/request.ts'
import { Problem } from '../../shared/problems.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { deploy } from '../api/api.ts'
import { remote } from './access.ts'
import { follow } from './follow.ts'
import { EXIT, print, type Io, type RemoteOptions } from './io.ts'

export interface DeployOptions extends RemoteOptions {
  readonly image?: string
  readonly env?: readonly string[]
  readonly reason?: string
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
  if (!options.wait) {
    print(io, options.json ? JSON.stringify(accepted) : accepted.deploy.id)
    return EXIT.success
  }
  if (accepted.agent === 'offline')
    io.stderr.write(`ropeway: the agent of ${access.host} is offline; the deploy waits for it\n`)
  return follow(access, accepted.deploy.id, { json: options.json, stack }, io)
}

/** The request as JSON, checked here so that a typing error needs no relay to be found. */
export function requestBody({ image, env, reason }: Pick<DeployOptions, 'image' | 'env' | 'reason'>): string {
  const request = {
    ...(image === undefined ? {} : { image }),
    ...(env === undefined ? {} : { env: Object.fromEntries(env.map(assignment)) }),
    ...(reason === undefined ? {} : { reason }),
  }
  const parsed = deployRequestSchema.safeParse(request)
  if (parsed.success) return JSON.stringify(parsed.data)
  const faults = parsed.error.issues.map(({ path, message }) => `--${path.join(' ')} ${message}`)
  throw new Problem('usage-invalid', faults.join('; '))
}

function assignment(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new Problem('usage-invalid', `--env ${text} is not KEY=VALUE`)
}
