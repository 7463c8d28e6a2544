// Docker Hub. It signs nothing and sends no header, so the secret is the last part of the address.
// https://docs.docker.com/docker-hub/repos/manage/webhooks/

import { z } from 'zod'
import { pushOf, reader, time, type Registry } from './registry.ts'

const body = z.object({
  push_data: z.object({ tag: z.string().optional(), pushed_at: time }),
  repository: z.object({ repo_name: z.string() }),
})

export const dockerHub: Registry = {
  credential: 'path',
  read: reader(body, ({ push_data: { tag, pushed_at: at }, repository: { repo_name: repository } }) => [
    pushOf({ repository, tag, at, id: at === undefined ? undefined : `${repository}:${tag} ${at}` }),
  ]),
}
