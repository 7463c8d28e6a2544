// compose's own hashes of services, by which it decides at an `up` whether a container stays. `config --hash` alone leaves out what an `env_file`
// says (2.26 to 2.40), so it is asked about the resolved model; and until 2.29.3 `up --no-deps` labels a container by another hash than `up`.

import { isRecord } from '../../compose/edit/model.ts'

/** Options of the `config` that reads a model again that was resolved before: nothing is to be added, and a twin may repeat a name. */
export const RESOLVED = ['--no-normalize', '--no-consistency'] as const

/** No service is named so: it would be in the way of a person's own. */
const TWIN = 'ropeway-without-dependencies.'

/** The model that `config --format json` has printed, with a twin of each service that depends on others: as `up --no-deps` sees it. */
export function withTwins(json: string): string {
  const model = JSON.parse(json) as { services: Record<string, Record<string, unknown>> }
  const twins = Object.entries(model.services)
    .filter(([, { depends_on }]) => isRecord(depends_on))
    .map(([name, service]) => [`${TWIN}${name}`, { ...service, depends_on: undefined }])
  return JSON.stringify({ ...model, services: { ...model.services, ...Object.fromEntries(twins) } })
}

/** What `config --hash '*'` answers about such a model: each service's hash by `up`, and the one by `up --no-deps` where it is another. */
export function readHashes(lines: string): Record<string, string[]> {
  const hashes = new Map(
    lines
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]),
  )
  const services = [...hashes].filter(([name]) => !name.startsWith(TWIN))
  return Object.fromEntries(
    services.map(([name, hash]) => [name, [...new Set([hash, hashes.get(`${TWIN}${name}`) ?? hash])]]),
  )
}
