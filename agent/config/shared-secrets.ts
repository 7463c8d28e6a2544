// Secrets that ropeway.yml has in two places where each must have its own.

import { z } from 'zod'

export interface SharedKey {
  readonly stack: string
  readonly trigger: string
  readonly key: 'secret' | 'publicKey'
  readonly index: number
  readonly message: string
}

/**
 * Keys that are there twice. No address is part of what Standard Webhooks sign: a request to one trigger could be repeated at another with
 * the same key, and would be another deploy there. Triggers that have faults of their own are left out.
 */
export function sharedKeys(stacks: Readonly<Record<string, unknown>>): SharedKey[] {
  const seen = new Map<string, { place: string; ofTrigger: string }>()
  return Object.entries(stacks).flatMap(([stack, value]) => {
    const { data } = parsedTriggers.safeParse(value)
    return Object.entries(data?.triggers ?? {}).flatMap(([trigger, { type, keys }]) => {
      const key = type === 'standard-webhooks-v1a' ? ('publicKey' as const) : ('secret' as const)
      const ofTrigger = `stacks.${stack}.triggers.${trigger}`
      return keys.flatMap(({ print }, index) => {
        const first = seen.get(print)
        if (!first) {
          seen.set(print, { place: `${ofTrigger}.${key}`, ofTrigger })
          return []
        }
        const message =
          first.ofTrigger === ofTrigger
            ? 'is there twice'
            : `is the same as ${first.place}: no signature covers the address, so whoever has a request to one could repeat it at the other. Give each its own`
        return [{ stack, trigger, key, index, message }]
      })
    })
  })
}

/**
 * Secrets of destinations that are a trigger's too: whoever gets the notices could sign a deploy with them.
 */
export function sharedWithNotify(
  stacks: Readonly<Record<string, unknown>>,
): { readonly stack: string; readonly index: number; readonly message: string }[] {
  const places = new Map(
    Object.entries(stacks).flatMap(([stack, value]) =>
      Object.entries(parsedTriggers.safeParse(value).data?.triggers ?? {}).flatMap(([trigger, { keys }]) =>
        keys.map(({ print }) => [print, `stacks.${stack}.triggers.${trigger}`] as const),
      ),
    ),
  )
  return Object.entries(stacks).flatMap(([stack, value]) =>
    (parsedNotify.safeParse(value).data?.notify ?? []).flatMap(({ print = '' }, index) => {
      const place = places.get(print)
      if (place === undefined) return []
      const message = `is the same as that of ${place}: whoever gets the notices could sign a deploy. Give each its own`
      return [{ stack, index, message }]
    }),
  )
}

const parsedNotify = z.object({ notify: z.array(z.object({ print: z.string().optional() }).catch({})) })

const parsedTriggers = z.object({
  triggers: z.record(
    z.string(),
    z
      .object({ type: z.string(), keys: z.array(z.object({ key: z.string(), print: z.string() })) })
      .catch({ type: '', keys: [] }),
  ),
})
