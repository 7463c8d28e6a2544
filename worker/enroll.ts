// POST /v1/hosts/{host}/enroll: ties a host's name to its public key, for whoever holds the enrolment key. Once.

import type { z } from 'zod'
import { enrolledSchema, enrolmentSchema } from '../shared/api.ts'
import { NAME_PATTERN } from '../shared/limits.ts'
import { jsonBody } from './body.ts'
import type { Ctx } from './env.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse } from './refusal.ts'

export async function enroll(c: Ctx, host: string): Promise<Response> {
  if (!(await holdsEnrollKey(c.req.header('authorization') ?? '', c.env.ROPEWAY_ENROLL_KEY)))
    return refusalResponse(UNAUTHORIZED)
  const enrolment = jsonBody(c, enrolmentSchema)
  if (isRefusal(enrolment)) return refusalResponse(enrolment)
  if (!NAME_PATTERN.test(host))
    return refusalResponse({ refused: 'malformed', message: `a host's name must match ${NAME_PATTERN}` })
  const status = await c.env.HUB.getByName(host).enroll(host, enrolment.publicKey)
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
