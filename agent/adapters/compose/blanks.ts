// Variables that compose took for blank, since it knows no value for them: it says so in a warning, and exits with 0. Which services they are in
// shows when the same files are read again with a value for each. Pure.

import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '../../compose/edit/model.ts'
import type { Blank, ComposeModel, ComposeService } from '../../ports.ts'

/** A number that fits where a port does: compose refuses a value of another form than a field has. */
const FIRST_VALUE = 40_001

/** A value for each variable of which compose has said that it is not set, none of them another's beginning or a blank. */
export function valuesFor(stderr: string): Readonly<Record<string, string>> {
  const names = [...stderr.matchAll(/The \\?"(\w+)\\?" variable is not set/g)].map(([, name]) => name ?? '')
  return Object.fromEntries([...new Set(names)].map((name, at) => [name, String(FIRST_VALUE + at)]))
}

/**
 * The model with each service's blanks. `valued` is the model of the same files with `values` for the variables; undefined where compose refused
 * them: then each may be anywhere.
 */
export function withBlanks(
  model: ComposeModel,
  valued: ComposeModel | undefined,
  values: Readonly<Record<string, string>>,
): ComposeModel {
  const isEverywhere = !valued || !isDeepStrictEqual(model.rest, valued.rest)
  const services = Object.entries(model.services).map(([name, service]): [string, ComposeService] => {
    const other = valued?.services[name]
    const blanks =
      isEverywhere || !other ? Object.keys(values).map(anywhere) : blanksOf(service, other, values)
    return [name, { ...service, blanks }]
  })
  return { ...model, services: Object.fromEntries(services) }
}

const anywhere = (variable: string): Blank => ({ variable, env: undefined })

function blanksOf(
  service: ComposeService,
  valued: ComposeService,
  values: Readonly<Record<string, string>>,
): Blank[] {
  const keys = Object.keys(valued.env).filter((key) => service.env[key] !== valued.env[key])
  const isElsewhere = !isDeepStrictEqual(withoutEnv(service.definition), withoutEnv(valued.definition))
  const elsewhere = JSON.stringify(withoutEnv(valued.definition))
  return Object.entries(values).flatMap(([variable, value]) => [
    ...keys.filter((env) => valued.env[env]?.includes(value)).map((env) => ({ variable, env })),
    ...(isElsewhere && elsewhere.includes(value) ? [anywhere(variable)] : []),
  ])
}

function withoutEnv(definition: unknown): unknown {
  return isRecord(definition) ? { ...definition, environment: undefined } : definition
}
