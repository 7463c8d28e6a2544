// The deploy request: what a verified trigger asks for. Parsed strictly at the door, on both sides.

import { z } from 'zod'
import { DEPLOY_ID_PATTERN } from './deploy-id.ts'
import { DIGEST_PATTERN, parseImage, TAG_PATTERN } from './image.ts'
import { REQUEST_ENV_KEYS_MAX, REQUEST_ENV_VALUE_CHARS_MAX, REQUEST_REASON_CHARS_MAX } from './limits.ts'
import { Problem, faultsOf } from './problems.ts'

/**
 * Whether the agent could verify the request for itself. A hint could only be believed, so it chooses nothing: it makes the agent look at
 * an allowed repository again.
 */
export const TRUSTS = ['signed', 'hint'] as const
export type Trust = (typeof TRUSTS)[number]

const envKey = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'not a name of an environment variable')
// JSON can spell half a character, but no file can hold one: it would come out as another.
const isWhole = (text: string) => text.isWellFormed()
const HALF = 'has half a character (a lone surrogate)'

// A NUL cannot be in an environment and a line break has no lossless form in an env list.
const envValue = z
  .string()
  .max(REQUEST_ENV_VALUE_CHARS_MAX)
  .refine(isWhole, HALF)
  .regex(/^\P{Cc}*$/u, 'has control characters')

const reason = z
  .string()
  .max(REQUEST_REASON_CHARS_MAX)
  .refine(isWhole, HALF)
  .regex(/^[\P{Cc}\t\n]*$/u, 'has control characters')

const shape = z.strictObject({
  image: z
    .string()
    .refine((text) => parseImage(text) !== undefined, 'not an image reference')
    .optional(),
  /** In the place of `image`, one of them or both: in the repository that the stack runs. */
  tag: z.string().regex(TAG_PATTERN, 'not a tag').optional(),
  digest: z.string().regex(DIGEST_PATTERN, 'not a digest as sha256:…').optional(),
  env: z
    .record(envKey, envValue)
    .refine(
      (env) => Object.keys(env).length <= REQUEST_ENV_KEYS_MAX,
      `more than ${REQUEST_ENV_KEYS_MAX} variables`,
    )
    .optional(),
  reason: reason.optional(),
  /** Recreate the containers even where what is asked for runs already. */
  force: z.boolean().optional(),
  /** When what is asked for was built, by its builder: an older build does not overwrite a newer one. */
  builtAt: z.iso.datetime({ offset: true }).optional(),
  /** The tag is a version, and a lower one than what runs is refused. */
  upgradeOnly: z.boolean().optional(),
  /** Deploy to these services alone, of those that the upstream names. */
  services: z.array(z.string().min(1).max(128)).min(1).max(64).optional(),
})

/** The generic body of a hook and of `POST …/deploys`. `{service}` in an env value becomes the compose service's name. */
export const deployRequestSchema = shape
  .refine(({ image, tag }) => image === undefined || tag === undefined, {
    path: ['tag'],
    error: 'stands beside image, which says it already: give one of the two',
  })
  .refine(({ image, digest }) => image === undefined || digest === undefined, {
    path: ['digest'],
    error: 'stands beside image, which says it already: give one of the two',
  })

export type DeployRequest = z.infer<typeof deployRequestSchema>

/** The body of `POST …/rollback`: the release to go back to, by its number or `previous`: the one before what runs now. */
export const rollbackRequestSchema = z.strictObject({
  release: z.union([z.literal('previous'), z.int().positive()]),
  reason: reason.optional(),
  /** Only while what this deploy brought is the newest release: whoever saw that one means no other. */
  ifRuns: z.string().regex(DEPLOY_ID_PATTERN).optional(),
})
export type RollbackRequest = z.infer<typeof rollbackRequestSchema>

/** What a rollback's body means when it is left out. */
export const ROLLBACK_DEFAULT: RollbackRequest = { release: 'previous' }

/** Whatever may be asked of an agent. */
export const anyRequestSchema = z.union([rollbackRequestSchema, deployRequestSchema])
export type AnyRequest = z.infer<typeof anyRequestSchema>

export function isRollback(request: AnyRequest): request is RollbackRequest {
  return 'release' in request
}

/** Whether it says what to run, in full or in the repository that runs. */
export function namesImage({ image, tag, digest }: DeployRequest): boolean {
  return image !== undefined || tag !== undefined || digest !== undefined
}

/**
 * Reads a deploy request from the raw bytes of a verified body. Throws `request-invalid` for what is not UTF-8, not JSON,
 * names a key twice, nests, or has a field that is not ours.
 */
export function parseDeployRequest(body: Uint8Array): DeployRequest {
  return parseBody(body, () => deployRequestSchema)
}

/** The same for a rollback. */
export function parseRollbackRequest(body: Uint8Array): RollbackRequest {
  return parseBody(body, () => rollbackRequestSchema)
}

/** The same for whatever may be asked with a token: a body that names a release is a rollback, any other is a deploy. */
export function parseAnyRequest(body: Uint8Array): AnyRequest {
  return parseBody<AnyRequest>(body, (value) =>
    value instanceof Object && Object.hasOwn(value, 'release') ? rollbackRequestSchema : deployRequestSchema,
  )
}

/** The body of `POST …/cancel`. It names the deploy, so that a token which is bound to it is good for that one alone. */
export const cancelRequestSchema = z.strictObject({ cancel: z.string().regex(DEPLOY_ID_PATTERN) })

/** The id of the deploy that a cancel's body names. Throws `request-invalid`. */
export function parseCancelRequest(body: Uint8Array): string {
  return parseBody(body, () => cancelRequestSchema).cancel
}

function parseBody<T>(body: Uint8Array, schemaFor: (value: unknown) => z.ZodType<T>): T {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch (cause) {
    throw new Problem('request-invalid', 'the body is not UTF-8', { cause })
  }
  let value: unknown
  try {
    value = text === '' ? {} : JSON.parse(text)
  } catch (cause) {
    throw new Problem('request-invalid', 'the body is not JSON', { cause })
  }
  const parsed = schemaFor(value).safeParse(value)
  if (!parsed.success) throw new Problem('request-invalid', faultsOf(parsed.error))
  const fault = keyFault(text)
  if (fault !== undefined) throw new Problem('request-invalid', fault)
  return parsed.data
}

/** The request's env for one service: `{service}` replaced by its name. */
export function envFor(request: DeployRequest, service: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.env ?? {}).map(([key, value]) => [
      key,
      value.replaceAll('{service}', () => service),
    ]),
  )
}

// JSON.parse keeps the last of two equal keys, other parsers the first: a signed body must mean one thing only. The schema has
// made sure that the text is an object of scalars, with at most one object (env) inside, so keys can be counted by their strings.
// `__proto__` is dropped by some parsers, zod's records among them, and kept by others: the same fault.
function keyFault(text: string): string | undefined {
  const scopes: Set<string>[] = []
  for (const [token, , colon] of text.matchAll(/"((?:[^"\\]|\\.)*)"\s*(:)?|[{}]/gs)) {
    if (token === '{') scopes.push(new Set())
    else if (token === '}') scopes.pop()
    else if (colon) {
      const key = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)) as string
      const scope = scopes.at(-1)
      if (scope?.has(key)) return 'the body names a key twice'
      if (key === '__proto__') return 'the body has a key __proto__'
      scope?.add(key)
    }
  }
  return undefined
}
