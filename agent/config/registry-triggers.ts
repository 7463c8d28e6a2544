// The triggers of ropeway.yml that registries call: which repository, which of its tags, and how the registry shows who it is.

import { z } from 'zod'
import { parseImage } from '../../shared/image.ts'
import { CLAIM_CHARS_MAX, SETTLE_MS, SETTLE_MS_MAX, TAG_RULES_MAX } from '../../shared/limits.ts'
import { google } from '../../shared/triggers/ci/google.ts'
import { oidcShape } from '../../shared/triggers/oidc.ts'
import { TAG_RULE_PATTERN } from '../../shared/triggers/pushes.ts'
import type { KeyedRegistryType, RegistryType } from '../../shared/triggers/registries/index.ts'
import { isRange } from '../../shared/version.ts'
import { duration, listOf, service } from './values.ts'

const repository = z.string().refine((text) => {
  const ref = parseImage(text)
  return ref !== undefined && ref.tag === undefined && ref.digest === undefined
}, 'should be an image repository without a tag or digest, as the compose file writes it')

const common = {
  image: repository,
  path: z.string().min(1).max(512).optional(),
  tags: listOf(
    z
      .string()
      .regex(
        TAG_RULE_PATTERN,
        'should be a tag, or a pattern with * for any characters: no range, that is semver',
      ),
    TAG_RULES_MAX,
  ).optional(),
  semver: z
    .string()
    .max(128)
    .refine(isRange, 'should be a range of versions, as ^1.2 or >=1.2 <3')
    .optional(),
  services: listOf(service, 64).optional(),
  settle: duration(0)
    .refine((ms) => ms <= SETTLE_MS_MAX, `should be at most ${SETTLE_MS_MAX / 1000}s`)
    .default(SETTLE_MS),
}

/** One of those that keep a secret with their sender. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function registryTrigger<T extends KeyedRegistryType, K>(
  type: T,
  secret: z.ZodType<K[]>,
  ttl: z.ZodType<number>,
) {
  return z
    .strictObject({ type: z.literal(type), ...common, secret, ttl })
    .superRefine(oneRule)
    .transform(({ secret: keys, ttl: ttlMs, ...rest }) => ({ ...ruleOf(rest), keys, ttlMs }))
}

/** Google's: its service account signs. `audience` undefined: the trigger's own address, which the caller knows. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function artifactRegistryTrigger(ttl: z.ZodType<number>) {
  return z
    .strictObject({
      type: z.literal('artifact-registry'),
      ...common,
      email: z.email('should be the address of the subscription’s service account').max(CLAIM_CHARS_MAX),
      issuer: oidcShape.issuer.default(String(google.issuer)),
      jwks: oidcShape.jwks,
      audience: oidcShape.audience.optional(),
      ttl,
    })
    .superRefine(oneRule)
    .transform(({ email, issuer, jwks = google.jwksOf?.(issuer), audience, ttl: ttlMs, ...rest }) => ({
      ...ruleOf(rest),
      issuer,
      ...(jwks === undefined ? {} : { jwks }),
      audience,
      claims: { email: [email] } as Record<string, string[]>,
      ttlMs,
    }))
}

function oneRule({ tags, semver }: { tags?: unknown; semver?: unknown }, ctx: z.RefinementCtx): void {
  if ((tags === undefined) !== (semver === undefined)) return
  ctx.addIssue({
    code: 'custom',
    message:
      tags === undefined
        ? 'has neither tags nor semver: say which pushes deploy'
        : 'has both tags and semver, and can have one',
  })
}

interface RuleInput<T extends RegistryType> {
  readonly type: T
  readonly image: string
  readonly path?: string | undefined
  readonly tags?: string[] | undefined
  readonly semver?: string | undefined
  readonly services?: string[] | undefined
  readonly settle: number
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- said by its parts
function ruleOf<T extends RegistryType>({ type, image, path, tags, semver, services, settle }: RuleInput<T>) {
  const full = parseImage(image)?.repository ?? image
  return {
    type,
    image,
    path: path ?? full.slice(full.indexOf('/') + 1),
    ...(tags === undefined ? {} : { tags }),
    ...(semver === undefined ? {} : { semver }),
    ...(services === undefined ? {} : { services }),
    settleMs: settle,
  }
}
