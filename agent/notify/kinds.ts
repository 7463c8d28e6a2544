// The kinds of destinations that ropeway.yml may name. A further one is a file beside these and a line here.

import { z } from 'zod'
import { discord } from './discord.ts'
import { githubDeployment } from './github-deployment.ts'
import type { SecretSchema } from './kind.ts'
import { slack } from './slack.ts'
import { standardWebhooks } from './standard-webhooks.ts'
import { teams } from './teams.ts'

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function anyDestination(secret: SecretSchema) {
  return z.discriminatedUnion(
    'type',
    [slack(secret), discord(secret), teams(secret), standardWebhooks(secret), githubDeployment(secret)],
    { error: 'should be slack, discord, teams, standard-webhooks or github-deployment' },
  )
}
