// What ropeway.yml may say, from its first key on, and what its parts must not say together. Each part has its own file.

import { z } from 'zod'
import { chatsSchema } from './chats.ts'
import { relayOrigin } from './relay-origin.ts'
import type { Surroundings } from './secrets.ts'
import { sharedKeys, sharedWithNotify } from './shared-secrets.ts'
import { stackSchema } from './stack.ts'
import { name } from './values.ts'

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function configSchema(surroundings: Surroundings) {
  return z
    .strictObject({
      relay,
      host: name,
      stacks: z
        .record(name, stackSchema(surroundings))
        .refine((stacks) => Object.keys(stacks).length > 0, 'has no stack')
        .superRefine(
          (stacks, ctx) => {
            if (surroundings.env !== undefined) refuseSharedSecrets(stacks, ctx)
          },
          // Also where something else is wrong.
          { when: ({ value }) => typeof value === 'object' && value !== null },
        ),
      chat: chatsSchema(surroundings).default({}),
    })
    .superRefine(({ stacks, chat }, ctx) => {
      for (const [at, said] of Object.entries(chat))
        // One with a fault of its own is still as it was written.
        for (const { name: of } of Array.isArray(said.stacks) ? said.stacks : [])
          if (!Object.hasOwn(stacks, of))
            ctx.addIssue({
              code: 'custom',
              path: ['chat', at, 'stacks', of],
              message: 'is not among the stacks of this file',
            })
    })
}

const relay = z.string().transform((text, ctx) => {
  const origin = relayOrigin(text)
  if ('origin' in origin) return origin.origin
  ctx.addIssue({ code: 'custom', message: origin.fault })
  return z.NEVER
})

function refuseSharedSecrets(stacks: Readonly<Record<string, unknown>>, ctx: z.RefinementCtx): void {
  for (const { stack, trigger, key, index, message } of sharedKeys(stacks))
    ctx.addIssue({ code: 'custom', path: [stack, 'triggers', trigger, key, index], message })
  for (const { stack, index, message } of sharedWithNotify(stacks))
    ctx.addIssue({ code: 'custom', path: [stack, 'notify', index, 'secret'], message })
}
