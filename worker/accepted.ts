// The answer to an accepted request: 202 once it is stored, 200 when it was stored before.

import type { z } from 'zod'
import type { acceptedSchema } from '../shared/api.ts'
import type { Accepted } from './hub/decide.ts'

export function acceptedResponse(
  { status, deploy, agent }: Accepted,
  { host, stack, origin }: { host: string; stack: string; origin: string },
): Response {
  const url = `${origin}/v1/hosts/${host}/deploys/${deploy}`
  const answer: z.infer<typeof acceptedSchema> = { status, deploy: { id: deploy, host, stack, url }, agent }
  return Response.json(answer, { status: status === 'accepted' ? 202 : 200, headers: { location: url } })
}
