// POST /v1/hosts/{host}/enroll: ties a host's name to its public key, for whoever holds the enrolment key. Once.

import { z } from 'zod'
import { enrolledSchema, enrolmentSchema } from '../shared/api.ts'
import { NAME_PATTERN } from '../shared/limits.ts'
import { readJsonBody } from './body.ts'
import type { Env } from './env.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse } from './refusal.ts'

export async function enroll(env: Env, request: Request, host: string): Promise<Response> {
  const body = await readJsonBody(request)
  if (!(await holdsEnrollKey(request.headers.get('authorization') ?? '', env.ROPEWAY_ENROLL_KEY)))
    return refusalResponse(UNAUTHORIZED)
  if (isRefusal(body)) return refusalResponse(body)
  if (!NAME_PATTERN.test(host))
    return refusalResponse({ refused: 'malformed', message: `a host's name must match ${NAME_PATTERN}` })
  const enrolment = enrolmentSchema.safeParse(parseJson(body))
  if (!enrolment.success) {
    const message = z.prettifyError(enrolment.error).replaceAll('\n', ' ')
    return refusalResponse({ refused: 'malformed', message })
  }
  const status = await env.HUB.getByName(host).enroll(host, enrolment.data.publicKey)
  if (status === 'taken')
    return refusalResponse({
      refused: 'host-taken',
      message: `host ${host} is enrolled with another key`,
      cure: 'enroll under another name, or use the data directory that holds the key of this one',
    })
  const answer: z.infer<typeof enrolledSchema> = { status, host }
  return Response.json(answer, { status: status === 'enrolled' ? 201 : 200 })
}

// Digests are compared, since only texts of one length can be compared in constant time.
async function holdsEnrollKey(authorization: string, enrollKey: string | undefined): Promise<boolean> {
  if (!enrollKey) return false
  return crypto.subtle.timingSafeEqual(await digest(authorization), await digest(`Bearer ${enrollKey}`))
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body))
  } catch {
    return undefined
  }
}
