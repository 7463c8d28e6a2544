// Pushes as a reason to deploy. A notification can choose one of the tags that ropeway.yml lets deploy, and nothing else. The agent asks the
// registry itself what the tag means, since the notification may be anybody's.

import { z } from 'zod'
import { deployId } from '../deploy-id.ts'
import { parseImage, TAG_PATTERN } from '../image.ts'
import { SETTLE_MS_MAX, TAG_RULES_MAX } from '../limits.ts'
import { Problem } from '../problems.ts'
import { isRange } from '../version.ts'
import type { VerifiedRequest } from './verified.ts'
import { registryOf, type RegistryType } from './registries/index.ts'
import type { Push, RegistryEvent } from './registries/registry.ts'
import { bestOf, isOrdered, isTagOf } from './tags.ts'

/** A pattern for tags: what a tag may have, and `*`. */
export const TAG_RULE_PATTERN = /^[A-Za-z0-9._*-]{1,128}$/

/** What a trigger of each of these types has beside what all have. */
export const pushShape = {
  /** The repository whose pushes count, as the compose file writes it. */
  image: z.string().refine((text) => parseImage(text) !== undefined),
  /** The same as the sender names it, without a host. */
  path: z.string().min(1).max(512),
  tags: z.array(z.string().regex(TAG_RULE_PATTERN)).max(TAG_RULES_MAX).optional(),
  semver: z.string().max(128).refine(isRange).optional(),
  /** The services that are deployed; undefined: all. */
  services: z.array(z.string().max(128)).min(1).max(64).optional(),
  /** How long it must be quiet after a push: one push is many events. */
  settleMs: z.number().int().nonnegative().max(SETTLE_MS_MAX),
}

export interface PushTrigger {
  readonly type: RegistryType
  readonly stack: string
  readonly name: string
  readonly ttlMs: number
  readonly image: string
  readonly path: string
  readonly tags?: readonly string[] | undefined
  readonly semver?: string | undefined
  readonly services?: readonly string[] | undefined
  readonly settleMs: number
}

/** What the hub tells the agent of a push. `at` is when it was, by the sender's clock: milliseconds since 1970. */
export interface ToldPush {
  readonly nonce: string
  readonly tag: string
  readonly at?: number | undefined
}

/** How many reasons an answer names, and how long each may be. Some of their words are the sender's. */
const REASONS_MAX = 3
const REASON_CHARS_MAX = 200

/** The push that deploys of all that a notification tells, or why none does. */
export function pushToDeploy(
  trigger: PushTrigger,
  told: readonly RegistryEvent[],
): Push | { readonly ignored: string } {
  const judged = told.map((each) => judge(trigger, each))
  const found = bestOf(
    trigger,
    judged.flatMap((each) => ('ignored' in each ? [] : each)),
  )
  if (found) return found
  const reasons = [...new Set(judged.flatMap((each) => ('ignored' in each ? each.ignored : [])))]
  const words = reasons.slice(0, REASONS_MAX).map((reason) => reason.slice(0, REASON_CHARS_MAX))
  return { ignored: words.join('; ') || 'it tells of nothing' }
}

function judge(trigger: PushTrigger, told: RegistryEvent): RegistryEvent {
  if ('ignored' in told) return told
  const isOfProjects = registryOf(trigger.type)?.isOfProjects ?? false
  const isOurs =
    told.repository === trigger.path || (isOfProjects && trigger.path.startsWith(`${told.repository}/`))
  if (!isOurs) return { ignored: `repository ${told.repository} is not ${trigger.path}` }
  return isTagOf(trigger, told.tag) ? told : { ignored: `tag ${told.tag} is none that deploys` }
}

/**
 * What a push asks for: hub and agent each make it of the same. Throws `unauthorized` for a tag that the trigger does not take. Its time
 * orders it where several tags may deploy, and its version where versions do.
 */
export async function askedByPush(
  host: string,
  trigger: PushTrigger,
  { nonce, tag, at }: ToldPush,
): Promise<VerifiedRequest> {
  if (!TAG_PATTERN.test(tag) || !isTagOf(trigger, tag))
    throw new Problem('unauthorized', `trigger ${trigger.name} does not deploy tag ${JSON.stringify(tag)}`)
  const isByTime = isOrdered(trigger) && trigger.semver === undefined && at !== undefined
  return {
    id: await deployId(host, trigger.stack, trigger.name, '@push', nonce, tag, String(at ?? '')),
    request: {
      image: `${trigger.image}:${tag}`,
      ...(isByTime ? { builtAt: new Date(at).toISOString() } : {}),
      ...(trigger.semver === undefined ? {} : { upgradeOnly: true }),
      ...(trigger.services === undefined ? {} : { services: [...trigger.services] }),
    },
    actor: trigger.name,
    trust: 'hint',
    ttlMs: trigger.ttlMs,
    signedAt: undefined,
    expiresAt: Infinity,
  }
}
