// Secrets of ropeway.yml: it names each, and the environment or a file has it. They are looked up at the leaf that names them, so that a
// missing one is one fault among the others. No fault repeats what was found there.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { secretFault } from '../../shared/triggers/standard-webhooks.ts'

export interface Surroundings {
  /** Relative paths start here. */
  readonly directory: string
  /** Undefined: secrets are not looked up, only their form is checked. */
  readonly env: NodeJS.ProcessEnv | undefined
}

/** What is wrong with a secret, as `is too short`, or undefined. */
export type FaultOf = (text: string) => string | undefined

/** `{ env: NAME }` or `{ file: PATH }`, as the secret that is there; empty where none is looked up. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function secretIn(surroundings: Surroundings, faultOf: FaultOf) {
  return z.unknown().transform((value, ctx): string => {
    const source = secretSource.safeParse(value)
    const found = source.success ? lookUp(source.data, surroundings, faultOf) : { fault: SECRET_SHAPE }
    if ('secret' in found) return found.secret
    ctx.addIssue({ code: 'custom', message: found.fault })
    return z.NEVER
  })
}

/**
 * By which two secrets are known to be one. The bytes count, not how they are written. A url trigger's secret that could be a signing
 * secret is taken for one: addresses are logged, and whoever reads one could then sign.
 */
export function printOf(secret: string): string {
  const isBase64 = secretFault(secret) === undefined
  return sha256(isBase64 ? Buffer.from(secret.replace(/^whsec_/, ''), 'base64') : secret)
}

export function sha256(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('hex')
}

const secretSource = z
  .strictObject({
    env: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/)
      .optional(),
    // Somebody may have pasted the secret itself: it must not come back in a message about a missing file.
    file: z
      .string()
      .min(1)
      .refine((path) => !/^wh(sec|sk|pk)_|:\/\/|^gh[a-z]_|^github_pat_/.test(path))
      .optional(),
  })
  .refine((source) => (source.env === undefined) !== (source.file === undefined))
const SECRET_SHAPE =
  'should be { env: NAME } or { file: PATH }: the secret itself does not belong into this file'

function lookUp(
  source: z.infer<typeof secretSource>,
  { directory, env }: Surroundings,
  faultOf: FaultOf,
): { secret: string } | { fault: string } {
  if (env === undefined) return { secret: '' }
  const where = source.env === undefined ? resolve(directory, source.file ?? '') : variable(source.env)
  try {
    const text = source.env === undefined ? readFileSync(where, 'utf8') : env[source.env]
    if (!text)
      return { fault: `${where} is ${source.env === undefined ? 'empty' : 'not set in the environment'}` }
    const secret = text.trim()
    const fault = faultOf(secret)
    return fault === undefined ? { secret } : { fault: `${where} ${fault}` }
  } catch (error) {
    return { fault: `${where} cannot be read: ${(error as NodeJS.ErrnoException).code}` }
  }
}

// A pasted secret may look like a name: only what is written as names are is repeated.
function variable(name: string): string {
  return /^[A-Z_][A-Z0-9_]*$/.test(name) ? name : 'the variable of that name'
}
