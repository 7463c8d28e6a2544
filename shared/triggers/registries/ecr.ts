// AWS ECR, by an EventBridge rule with an API destination. https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const body = z.object({
  id: z.string(),
  source: z.literal('aws.ecr'),
  'detail-type': z.string(),
  time,
  detail: z.object({
    result: z.string().optional(),
    'action-type': z.string().optional(),
    'repository-name': z.string(),
    'image-tag': z.string().optional(),
  }),
})

export const ecr: Registry = {
  credential: 'authorization',
  read: reader(body, ({ id, time: at, 'detail-type': type, detail }): readonly RegistryEvent[] => {
    if (type !== 'ECR Image Action' || detail['action-type'] !== 'PUSH') return [{ ignored: 'not a push' }]
    if (detail.result !== 'SUCCESS') return [{ ignored: 'the push has failed' }]
    return [pushOf({ repository: detail['repository-name'], tag: detail['image-tag'], at, id })]
  }),
}
