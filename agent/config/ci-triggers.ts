// The triggers of ropeway.yml that take CI jobs' tokens. Nothing in them is a secret; what is left out is what the CI system says of itself.

import { z } from 'zod'
import type { CiSystem } from '../../shared/triggers/ci/ci-system.ts'
import { CI_SYSTEMS } from '../../shared/triggers/ci/index.ts'
import { oidcShape, type OidcType } from '../../shared/triggers/oidc.ts'

/** One of these types. `audience` undefined: the trigger's own address, which the caller knows. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function ciTrigger<T extends OidcType>(type: T, ttl: z.ZodType<number>) {
  const system: CiSystem = CI_SYSTEMS[type]
  return z
    .strictObject({
      type: z.literal(type),
      issuer: system.issuer === undefined ? oidcShape.issuer : oidcShape.issuer.default(system.issuer),
      jwks: oidcShape.jwks,
      audience: oidcShape.audience
        .refine((text) => !text.includes('#'), 'has a #, which begins the binding to a body')
        .optional(),
      bind: z.literal('body', { error: 'should be body, or left out' }).optional(),
      claims: system.claims,
      ttl,
    })
    .transform(({ issuer, jwks = system.jwksOf?.(issuer), audience, bind, claims, ttl: ttlMs }) => ({
      type,
      ttlMs,
      issuer,
      ...(jwks === undefined ? {} : { jwks }),
      audience,
      bind: bind === 'body',
      claims: { ...claims } as Record<string, string[]>,
    }))
}
