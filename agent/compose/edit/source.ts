// A compose file as it was read, and the service in it that is to be edited: as a node of the text, and as what that means.

import { isAlias, isMap, LineCounter, parseAllDocuments, type Document, type Pair, type YAMLMap } from 'yaml'
import { Problem } from '../../../shared/problems.ts'
import { isRecord, modelOf, serviceOf, type Model } from './model.ts'
import { columnOf, ownPair, resolved, servicesOf, startOf } from './nodes.ts'

export interface Source {
  readonly text: string
  readonly document: Document.Parsed
  readonly all: Model
  readonly service: string
  readonly pair: Pair
  /** The service's block; where the service is an alias, the block that it stands for. */
  readonly node: YAMLMap
  readonly model: Model
  readonly eol: string
  /** The blanks by which the file indents. */
  readonly step: string
  /** The number of the line at an offset, from 1. */
  lineOf(offset: number): number
}

/** Reads a file: its nodes, and the lines that they stand on. Throws `compose-invalid`. */
export function parse(text: string) {
  const lines = new LineCounter()
  const lineOf = (offset: number) => lines.linePos(offset).line
  const [document, second] = parseAllDocuments(text, {
    merge: true,
    keepSourceTokens: true,
    prettyErrors: false,
    logLevel: 'error',
    lineCounter: lines,
  })
  // Faults come first: the lines are counted right only up to the first one.
  const fault = document?.errors[0]
  if (fault)
    throw new Problem('compose-invalid', `line ${lineOf(fault.pos[0])}: ${fault.message}`, { cause: fault })
  if (second)
    throw new Problem('compose-invalid', `line ${lineOf(second.range[0])}: a second YAML document begins`)
  return { document, lineOf }
}

/** Finds the service. Throws `compose-invalid`, `service-unknown`, and `compose-not-editable` where it has no block of its own. */
export function sourceOf(text: string, service: string): Source {
  const { document, lineOf } = parse(text)
  const all = modelOf(document)
  const model = serviceOf(all, service)
  if (!document || model === undefined)
    throw new Problem('service-unknown', `the compose file has no service ${service}`)
  const services = servicesOf(document)
  const pair = services && ownPair(services, service)
  const node = resolved(document, pair?.value)
  if (!services || !pair || !isMap(node) || !isRecord(model) || node.tag === '!reset')
    throw new Problem(
      'compose-not-editable',
      `service ${service} (line ${lineOf(startOf(pair?.key))}) has no block of its own`,
      { cure: `write ${service} out as a block` },
    )
  const eol = /\r?\n/.exec(text)?.[0] ?? '\n'
  const step = ' '.repeat(Math.max(1, columnOf(node) - columnOf(services)))
  return { text, document, all, service, pair, node, model, eol, step, lineOf }
}

/** The service's own image or environment, which a service that is an alias does not have. */
export function ownOf({ pair, node }: Source, key: 'image' | 'environment'): Pair | undefined {
  return isAlias(pair.value) ? undefined : ownPair(node, key)
}

/** Why the image, the environment or a variable of the service cannot be edited. */
export function refusal(source: Source, key: string, at: unknown, why: string, cause?: unknown): Problem {
  const { service, lineOf } = source
  const what = key === 'image' || key === 'environment' ? key : `variable ${key}`
  return new Problem(
    'compose-not-editable',
    `service ${service}: its ${what} (line ${lineOf(startOf(at))}) ${why}`,
    {
      cure: `write the ${key === 'image' ? 'image' : 'environment'} of ${service} out in its own block`,
      cause,
    },
  )
}
