// Once before all end-to-end tests: the relay's bundle and the images that the stacks run.

import { buildWorker } from '../build.ts'
import { buildApp, buildHello } from '../support/stack.ts'

export default async function setup(): Promise<void> {
  await Promise.all([buildWorker(), buildApp(), buildHello()])
}
