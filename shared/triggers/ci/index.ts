// The CI systems whose jobs may ask: one file each, and one line here.

import { generic } from './generic.ts'
import { githubActions } from './github-actions.ts'
import { gitlabCi } from './gitlab-ci.ts'
import { google } from './google.ts'
import type { CiSystem } from './ci-system.ts'

export const CI_SYSTEMS = {
  'github-actions': githubActions,
  'gitlab-ci': gitlabCi,
  google,
  oidc: generic,
} as const satisfies Record<string, CiSystem>
