// POST /hooks/{host}/{chat}: what a chat's platform sent goes to the hub as it came; the hub's answer is what the platform understands.

import { PLATFORMS } from '../shared/chat/chat.ts'
import { NAME_PATTERN } from '../shared/limits.ts'
import { relayOrigin, type Ctx } from './env.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse } from './refusal.ts'

const FORWARDED_HEADERS = [...new Set(Object.values(PLATFORMS).flatMap(({ headers }) => headers))]
const TYPE = /^application\/(json|x-www-form-urlencoded)(?:\s*;\s*charset="?utf-8"?)?$/i

export async function receiveChat(c: Ctx, { host, chat }: { host: string; chat: string }): Promise<Response> {
  const body = c.get('body')
  if (isRefusal(body)) return refusalResponse(body)
  const [, type] = TYPE.exec(c.req.header('content-type') ?? '') ?? []
  if (type === undefined || c.req.header('content-encoding') !== undefined)
    return refusalResponse({
      refused: 'media-type',
      message: 'the body must be JSON or a form, in UTF-8 and not compressed',
    })
  if (![host, chat].every((name) => NAME_PATTERN.test(name))) return refusalResponse(UNAUTHORIZED)
  const headers: Record<string, string> = {}
  for (const name of FORWARDED_HEADERS) {
    const value = c.req.header(name)
    if (value !== undefined) headers[name] = value
  }
  const heard = await c.env.HUB.getByName(host).chat(host, chat, {
    headers,
    body,
    form: type.toLowerCase() === 'json' ? 'json' : 'form',
    origin: relayOrigin(c.env, c.req.raw),
  })
  if (isRefusal(heard)) return refusalResponse(heard)
  return new Response(heard.answer ?? null, {
    headers: heard.answer === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' },
  })
}
