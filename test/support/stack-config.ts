// What ropeway.yml says of a stack when it says nothing.

import type { StackConfig } from '../../agent/config/config.ts'

export const STACK_DEFAULTS: Omit<StackConfig, 'name' | 'compose' | 'project' | 'triggers'> = {
  envFiles: undefined,
  profiles: [],
  proxy: {},
  instances: undefined,
  health: {
    by: undefined,
    path: undefined,
    host: undefined,
    status: undefined,
    intervalMs: 250,
    successes: 7,
    timeoutMs: 60_000,
  },
  drainTimeoutMs: 30_000,
  soakMs: 0,
  deadlineMs: 3600_000,
  before: undefined,
  after: undefined,
  releasesKept: 5,
  allow: { images: undefined, env: [] },
  notify: [],
}
