// What the kill suite's stacks run: one image and one message for both services, and the compose file that says so, byte for byte.

import { docker, SEED_COMPOSE } from '../../support/stack.ts'

export const SERVICES = ['app1', 'app2'] as const

export interface Version {
  /** As the compose file names it. */
  readonly image: string
  readonly imageId: string
  /** What is said by `app1` is `app1,MESSAGE`. */
  readonly message: string
}

export function composeOf({ image, message }: Version): string {
  return SEED_COMPOSE.replaceAll('ropeway-test-app:v1', image).replaceAll(',v1', `,${message}`)
}

export function answerOf(service: string, { message }: Version): string {
  return `Hi there, I love ! ${service},${message}`
}

export async function imageIdOf(tag: string): Promise<string> {
  return await docker('image', 'inspect', '-f', '{{.Id}}', `ropeway-test-app:${tag}`)
}
