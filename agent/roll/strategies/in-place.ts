// In place: each service in turn is taken out, drained, recreated at the wanted version, seen healthy, and put back, while all others serve. One
// switch puts a service back and takes the next one out, so N services cost N+1 switches. With a soak time, each is put back and watched in traffic
// before the next is touched.

import { AS_WRITTEN, type Route, type Step } from '../../../shared/plan.ts'
import { Problem } from '../../../shared/problems.ts'
import type { ProxySeen } from '../proxy.ts'
import { routeWithout } from '../route.ts'
import type { RollFacts, Standing, Strategy, Target } from './strategy.ts'

export const inPlace: Strategy = {
  check: checkEnough,
  plan(facts, standing, goal) {
    if (goal === 'former') return back(facts, standing)
    return standing.updated.size === 0 ? fromTheStart(facts) : onward(facts, standing)
  },
  routes: (facts) => [AS_WRITTEN, ...facts.targets.map((target) => without(target, facts))],
}

function checkEnough({ backend, members, servers: { live, others } }: ProxySeen): void {
  if (live < 2)
    throw new Problem('upstream-too-small', `upstream ${backend} has ${live} live server`, {
      cure: 'add a second instance to the compose file and to the upstream',
    })
  const [only, second] = members.filter(({ isLive }) => isLive)
  if (only && !second && others === 0)
    throw new Problem(
      'upstream-too-small',
      `every live server of upstream ${backend} is service ${only.service}`,
      { cure: 'add another instance to the compose file and to the upstream' },
    )
}

function fromTheStart(facts: RollFacts): Step[] {
  const { targets, images, before, after } = facts
  const steps: Step[] = images.map((image) => ({ kind: 'pull', image }))
  if (before) steps.push({ kind: 'command', when: 'before', ...before })
  steps.push(...rolled(targets, facts), { kind: 'verify' })
  if (after) steps.push({ kind: 'command', when: 'after', ...after })
  return steps
}

// The updated services must be healthy before the others are rolled. Commands are left out: they belong to a roll's start and end.
function onward(facts: RollFacts, standing: Standing): Step[] {
  const { targets, soakMs } = facts
  const done = targets.filter(({ service }) => standing.updated.has(service))
  const left = targets.filter(({ service }) => !standing.updated.has(service))
  const waiting = waitingIn(facts, standing)
  const last = done.at(-1)
  const steps: Step[] = done.map(({ service }) => ({ kind: 'await-healthy', service }))
  if (waiting || !standing.isLoaded) steps.push(switchTo(facts, { back: waiting }))
  if (soakMs > 0 && last?.isLive) steps.push({ kind: 'soak', service: last.service, ms: soakMs })
  return [...steps, ...rolled(left, facts), { kind: 'verify' }]
}

function rolled(targets: readonly Target[], facts: RollFacts): Step[] {
  const { soakMs, force } = facts
  const steps: Step[] = []
  let waiting: Target | undefined
  for (const target of targets) {
    const { service, from, to, isLive } = target
    if (isLive) {
      steps.push(switchTo(facts, { out: target, back: waiting }), { kind: 'drain', service })
      waiting = undefined
    }
    steps.push(
      { kind: 'update', service, from, to, undo: false, ...(force ? { force } : {}) },
      { kind: 'await-healthy', service },
    )
    if (!isLive) continue
    if (soakMs > 0) steps.push(switchTo(facts, { back: target }), { kind: 'soak', service, ms: soakMs })
    else waiting = target
  }
  if (waiting) steps.push(switchTo(facts, { back: waiting }))
  return steps
}

// The way back is the way there, reversed, so it loses no request either: the service that was rolled last goes back first.
function back(facts: RollFacts, standing: Standing): Step[] {
  const { updated, isLoaded, dead } = standing
  const steps: Step[] = []
  let waiting = waitingIn(facts, standing)
  for (const target of facts.targets.toReversed()) {
    const { service, from, to, isLive } = target
    if (!updated.has(service)) continue
    // A service that the proxy is known to have out already needs no second switch.
    if (isLive && !(waiting === target && isLoaded)) {
      const former = waiting === target ? undefined : waiting
      steps.push(switchTo(facts, { out: target, back: former }), { kind: 'drain', service })
      waiting = target
    }
    steps.push(
      { kind: 'update', service, from: to, to: from, undo: true },
      { kind: 'await-healthy', service },
    )
  }
  if (waiting || !isLoaded) steps.push(switchTo(facts, { back: waiting }))
  return steps.length === 0 ? [] : [...recreateDeadFirst(steps, dead), { kind: 'verify' }]
}

// All dead services are recreated first, together: a switch, and a wait for another service, fail while any service is dead.
function recreateDeadFirst(steps: readonly Step[], dead: readonly string[]): Step[] {
  const ofDead = (kind: Step['kind']) => (step: Step) =>
    step.kind === kind && 'service' in step && dead.includes(step.service)
  const first = [...steps.filter(ofDead('update')), ...steps.filter(ofDead('await-healthy'))]
  return [...first, ...steps.filter((step) => !first.includes(step))]
}

// The service that is out. At most one is out at a time.
function waitingIn({ targets }: RollFacts, { out }: Standing): Target | undefined {
  return targets.find(({ members }) => members.some((name) => out.has(name)))
}

/** A switch that takes `out` out and puts `back` back. Without `out`, its route is the user's own. */
function switchTo(
  facts: RollFacts,
  { out, back: returning }: { readonly out?: Target; readonly back?: Target | undefined },
): Step {
  return {
    kind: 'switch',
    ...(out ? { out: out.service } : {}),
    ...(returning ? { back: returning.service } : {}),
    route: without(out, facts),
  }
}

function without(target: Target | undefined, { members }: RollFacts): Route {
  return routeWithout(target?.members ?? [], members)
}
