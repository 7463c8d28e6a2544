// What a compose file means: plain values, with its anchors, aliases and merges resolved.

import type { Document } from 'yaml'
import { Problem } from '../../../shared/problems.ts'

export type Model = Readonly<Record<string, unknown>>

export const isRecord = (value: unknown): value is Model =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// The most aliases that are resolved: far more than people write, far fewer than a file needs to grow beyond memory.
const ALIAS_COUNT_MAX = 10_000

export function modelOf(document: Document.Parsed | undefined): Model {
  try {
    const model: unknown = document?.toJS({ maxAliasCount: ALIAS_COUNT_MAX })
    return isRecord(model) ? model : {}
  } catch (cause) {
    throw new Problem('compose-invalid', (cause as Error).message, { cause })
  }
}

/** What the file says of a service; undefined where it does not define it. */
export function serviceOf({ services }: Model, service: string): unknown {
  return isRecord(services) && Object.hasOwn(services, service) ? services[service] : undefined
}

/** An environment, map or list, as a map. */
export function envOf(environment: unknown): Model {
  if (isRecord(environment)) return environment
  if (!Array.isArray(environment)) return {}
  const entries = environment.filter((item) => item !== null && typeof item !== 'object').map(String)
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=')
      return at < 0 ? [entry, null] : [entry.slice(0, at), entry.slice(at + 1)]
    }),
  )
}
