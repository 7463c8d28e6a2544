// Variables that the compose files use and nobody has set: compose would put blanks in their place, a database's password among them. Pure.

import { Problem } from '../../shared/problems.ts'
import type { ComposeModel, ComposeProject, Container } from '../ports.ts'
import { areAsDefined, type Hashes } from './drift.ts'

/**
 * Throws `compose-invalid` where a service would be recreated with a blank that its containers do not have. A stack that was always run without a
 * variable is rolled as it is: its container's hash shows that, or the blank variable in its environment.
 */
export function checkBlanks(
  stack: ComposeProject,
  seen: { readonly model: ComposeModel; readonly hashes: Hashes },
  containers: readonly Container[],
  services: readonly string[],
): void {
  const found = services.flatMap((service) => {
    const own = containers.filter((one) => one.service === service)
    const variables =
      own.length === 0 || areAsDefined(own, seen.hashes[service]) ? [] : blanksOf(seen.model, service, own)
    return variables.length === 0 ? [] : [`${variables.join(', ')} of ${service}`]
  })
  if (found.length === 0) return
  const folder = stack.compose[0]?.replace(/[^/]*$/, '')
  throw new Problem(
    'compose-invalid',
    `compose knows no value for ${found.join(', ')}, and would put a blank where what runs has none`,
    {
      cure: `name the file that sets it in stacks.${stack.name}.env_files, or set it in ${folder}.env (as \`NAME=\` where it is to be blank)`,
    },
  )
}

function blanksOf(model: ComposeModel, service: string, own: readonly Container[]): string[] {
  const { blanks = [], env = {} } = model.services[service] ?? {}
  const isNew = (key: string | undefined) =>
    key === undefined || own.some((one) => (one.env[key] ?? '') !== (env[key] ?? ''))
  return [...new Set(blanks.filter((blank) => isNew(blank.env)).map(({ variable }) => variable))]
}
