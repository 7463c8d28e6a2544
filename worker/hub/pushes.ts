// Notifications of registries. Each is verified by its type's rule and read; it asks for one tag to be deployed, or for nothing.

import { Problem } from '../../shared/problems.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { fittingKey } from '../../shared/triggers/credentials.ts'
import { headersOf, type TriggerBy } from '../../shared/triggers/index.ts'
import { checkGoogleToken } from '../../shared/triggers/oidc.ts'
import { askedByPush, pushToDeploy } from '../../shared/triggers/pushes.ts'
import { registryOf } from '../../shared/triggers/registries/index.ts'
import type { Registry } from '../../shared/triggers/registries/registry.ts'
import { parseJson } from '../json.ts'
import { UNAUTHORIZED, type Refusal } from '../refusal.ts'
import { makeNonce, NONCE_CHARS } from './nonce.ts'
import type { HookContext, HookRequest, Ignored, VerifiedHook } from './verified.ts'
import { pick } from './verify.ts'

/**
 * What a registry's notification asks for. The answer is the same whatever is wrong with its credentials. A genuine one that deploys nothing
 * is `ignored`: a registry that gets an error tries again, and some never stop.
 */
export async function verifyPush(
  host: string,
  trigger: TriggerBy<'push'>,
  sent: HookRequest,
  context: HookContext,
): Promise<VerifiedHook | Ignored | Refusal> {
  const registry = registryOf(trigger.type)
  if (!registry) return UNAUTHORIZED
  const { secret, body } = sent
  const headers = pick(sent.headers, headersOf(trigger))
  const isGoogles = trigger.type === 'artifact-registry'
  const key = isGoogles
    ? undefined
    : await fittingKey(registry.credential, trigger.keys, { headers, body }, secret, context.now)
  const isTheirs = isGoogles
    ? secret === undefined && (await isOfGoogle(headers['authorization'], trigger, context))
    : key !== undefined
  if (!isTheirs) return UNAUTHORIZED
  const value = parseJson(body)
  if (value === undefined) return { refused: 'malformed', message: 'the body is not JSON in UTF-8' }
  const push = pushToDeploy(trigger, registry.read(value, headers))
  if ('ignored' in push) return { status: 'ignored', reason: push.ignored }
  const { tag, at, id } = push
  const told = { nonce: await nonceOf(registry, id, body), tag, ...(at === undefined ? {} : { at }) }
  const settleMs = trigger.settleMs > 0 ? trigger.settleMs : undefined
  return { asked: await askedByPush(host, trigger, told), proof: { kind: 'push', ...told }, key, settleMs }
}

async function isOfGoogle(
  authorization: string | undefined,
  trigger: Extract<TriggerBy<'push'>, { type: 'artifact-registry' }>,
  { issuers, now, onRefused }: HookContext,
): Promise<boolean> {
  const token = /^Bearer ([\w.-]+)$/i.exec(authorization ?? '')?.[1]
  if (token === undefined) return false
  try {
    await checkGoogleToken(token, trigger, issuers, now)
    return true
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    if (error.code !== 'unauthorized') onRefused(error.message)
    return false
  }
}

// What makes the deploy's id. For a signed notification it is the body: what is sent beside the body, as an id in a header, is not signed and
// could be changed by whoever repeats it. For others it is the sender's id, which is the same in every try. A sender without ids may push the
// same twice and mean both, so each of its notifications gets a new one.
async function nonceOf({ credential }: Registry, id: string | undefined, body: Uint8Array): Promise<string> {
  if (typeof credential === 'object') return (await sha256Hex(body)).slice(0, NONCE_CHARS)
  if (id === undefined) return makeNonce()
  return (await sha256Hex(new TextEncoder().encode(id))).slice(0, NONCE_CHARS)
}
