// What a service depends on, and whether an `up` of that service would leave it alone. Pure.

import { isRecord } from '../../compose/edit/model.ts'
import type { ComposeModel, Container } from '../../ports.ts'

/** The services that one depends on, and those that these depend on, and so on. */
export function dependenciesOf({ services }: ComposeModel, service: string): string[] {
  const found = new Set<string>()
  const visit = (name: string) => {
    const definition = services[name]?.definition
    const said = isRecord(definition) && isRecord(definition['depends_on']) ? definition['depends_on'] : {}
    // One of a profile that is not active is not in the model, and compose leaves it out too.
    for (const dependency of Object.keys(said))
      if (dependency !== service && dependency in services && !found.has(dependency)) {
        found.add(dependency)
        visit(dependency)
      }
  }
  visit(service)
  return [...found]
}

/** compose starts a container in any other state even where it is told to start none (2.26). */
const LEFT_ALONE: readonly Container['state'][] = ['running', 'exited', 'created', 'restarting']

/** Whether a service has exactly the containers that its definition asks for: compose would recreate, remove or add none. `hash` is the one by `up`. */
export function isAsDefined(
  { definition }: ComposeModel['services'][string],
  hash: string | undefined,
  imageId: string | undefined,
  containers: readonly Container[],
): boolean {
  return (
    containers.length === scaleOf(definition) &&
    containers.every(
      (one) => LEFT_ALONE.includes(one.state) && one.configHash === hash && one.imageId === imageId,
    )
  )
}

function scaleOf(definition: unknown): number {
  const { scale, deploy } = isRecord(definition) ? definition : {}
  const replicas = isRecord(deploy) ? deploy['replicas'] : undefined
  return Number(scale ?? replicas ?? 1)
}
