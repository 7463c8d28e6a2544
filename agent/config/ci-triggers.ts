// The triggers of ropeway.yml that take CI jobs' tokens. Nothing in them is a secret; what is left out is what the CI system says of itself.

import { z } from 'zod'
import type { Sender } from '../../shared/triggers/ci/sender.ts'
import { SENDERS } from '../../shared/triggers/ci/index.ts'
import { oidcShape, type OidcType } from '../../shared/triggers/oidc.ts'

/** One of these types. `audience` undefined: the trigger's own address, which the caller knows. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function ciTrigger<T extends OidcType>(type: T, ttl: z.ZodType<number>) {
  const sender: Sender = SENDERS[type]
  return z
    .strictObject({
      type: z.literal(type),
      issuer: sender.issuer === undefined ? oidcShape.issuer : oidcShape.issuer.default(sender.issuer),
      jwks: oidcShape.jwks,
      audience: oidcShape.audience
        .refine((text) => !text.includes('#'), 'has a #, which begins the binding to a body')
        .optional(),
      bind: z.literal('body', { error: 'should be body, or left out' }).optional(),
      claims: sender.claims,
      ttl,
    })
    .transform(({ issuer, jwks = sender.jwksOf?.(issuer), audience, bind, claims, ttl: ttlMs }) => ({
      type,
      ttlMs,
      issuer,
      ...(jwks === undefined ? {} : { jwks }),
      audience,
      bind: bind === 'body',
      claims: { ...claims } as Record<string, string[]>,
    }))
}
