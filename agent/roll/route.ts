// A route as the roll reads it. The type is the plan's.

import { AS_WRITTEN, type Route } from '../../shared/plan.ts'

/** The members that get no new requests by a route. */
export function outOf(route: Route): readonly string[] {
  return route.kind === 'as-written' ? [] : route.out
}

/** The route by which these members are out; with nobody out, the user's own. `members` are all that may serve. */
export function routeWithout(out: Iterable<string>, members: readonly string[]): Route {
  const gone = new Set(out)
  if (gone.size === 0) return AS_WRITTEN
  return { kind: 'members', serving: members.filter((name) => !gone.has(name)), out: [...gone] }
}
