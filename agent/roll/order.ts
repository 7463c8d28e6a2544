// The rolling order: services that serve nobody come first, so that somebody always serves.

import { Problem } from '../../shared/problems.ts'
import type { Before } from './gates/gates.ts'

interface Rolled {
  readonly service: string
  /** Whether nginx sends it requests. */
  readonly isLive: boolean
}

/** The services, given as they stand in the upstream, in rolling order: gone, then sick, then well, and among equals last to first. */
export function rollingOrder(
  services: readonly string[],
  before: Readonly<Record<string, Pick<Before, 'state'>>>,
): string[] {
  const states: readonly Before['state'][] = ['gone', 'sick', 'well']
  const lastFirst = services.toReversed()
  return states.flatMap((state) =>
    lastFirst.filter((service) => (before[service]?.state ?? 'well') === state),
  )
}

/**
 * Throws `upstream-too-small` where the order would take out the last service that answers. A service that was rolled answers again. `others`: how
 * many more servers get requests; nothing else is known of them.
 */
export function checkSomebodyServes(
  order: readonly string[],
  services: readonly Rolled[],
  before: Readonly<Record<string, Before>>,
  others: number,
): void {
  const answering = new Set(
    services
      .filter(({ service, isLive }) => isLive && before[service]?.isAnswering)
      .map(({ service }) => service),
  )
  for (const service of order) {
    const isLast = answering.has(service) && answering.size === 1 && others === 0
    if (isLast) {
      const sick = services.filter((one) => one.isLive && one.service !== service).map((one) => one.service)
      throw new Problem(
        'upstream-too-small',
        `${service} is the only instance that answers: ${sick.map((one) => `${one}: ${before[one]?.said}`).join('; ')}`,
        { cure: `roll ${sick.join(', ')} too, or mend what is sick first` },
      )
    }
    if (services.some((one) => one.service === service && one.isLive)) answering.add(service)
  }
}
