// Who is told of a stack's deploys, as ropeway.yml lists them.

import { z } from 'zod'
import type { Destination } from '../notify/kind.ts'
import { anyDestination } from '../notify/kinds.ts'
import { secretIn, type Surroundings } from './secrets.ts'

/** Each has a connection and a queue of its own. A stack with more readers than this has a mailing list. */
const DESTINATIONS_MAX = 16

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function notifySchema(surroundings: Surroundings) {
  const destination = anyDestination((faultOf) => secretIn(surroundings, faultOf))
  return z
    .array(destination)
    .max(DESTINATIONS_MAX, `has more than ${DESTINATIONS_MAX} entries`)
    .default([])
    .superRefine((all: readonly Destination[], ctx) => {
      for (const [index, { name }] of all.entries())
        if (all.findIndex((each) => each.name === name) < index)
          ctx.addIssue({
            code: 'custom',
            path: [index],
            message: `is the second one called ${name}: give it a name of its own, by which its notices are told apart`,
          })
    })
}
