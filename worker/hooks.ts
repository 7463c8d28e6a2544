// POST /hooks/{host}/{stack}/{trigger}: raw bytes and the headers a signature may need go to the hub, its word comes back.

import { NAME_PATTERN } from '../shared/limits.ts'
import { SIGNED_HEADERS } from '../shared/triggers/index.ts'
import { acceptedResponse } from './accepted.ts'
import { readJsonBody } from './body.ts'
import { relayOrigin, type Env } from './env.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse } from './refusal.ts'

const FORWARDED_HEADERS = [...new Set(Object.values(SIGNED_HEADERS).flat())]

export async function receiveHook(
  env: Env,
  request: Request,
  { host, stack, trigger }: { host: string; stack: string; trigger: string },
): Promise<Response> {
  const body = await readJsonBody(request)
  if (isRefusal(body)) return refusalResponse(body)
  if (![host, stack, trigger].every((name) => NAME_PATTERN.test(name))) return refusalResponse(UNAUTHORIZED)
  const headers: Record<string, string> = {}
  for (const name of FORWARDED_HEADERS) {
    const value = request.headers.get(name)
    if (value !== null) headers[name] = value
  }
  const accepted = await env.HUB.getByName(host).hook(host, stack, trigger, { headers, body })
  return isRefusal(accepted)
    ? refusalResponse(accepted)
    : acceptedResponse(accepted, { host, stack, origin: relayOrigin(env, request) })
}
