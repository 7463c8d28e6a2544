// In place: one service at a time is taken out of nginx's way, drained, recreated at the wanted version, healthy, and put back. All but one
// serve. To put one back and to take the next out is one reload, so N services cost N+1 reloads, unless a soak time asks to watch each in
// traffic before the next is touched.

import type { Step } from '../../../shared/plan.ts'
import type { RollFacts, Standing, Strategy, Target } from './strategy.ts'

export const inPlace: Strategy = {
  plan(facts, standing, goal) {
    if (goal === 'former') return back(facts, standing)
    return standing.updated.size === 0 ? fromTheStart(facts) : onward(facts, standing)
  },
}

function fromTheStart({ targets, images, soakMs, force, before, after }: RollFacts): Step[] {
  const steps: Step[] = images.map((image) => ({ kind: 'pull', image }))
  if (before) steps.push({ kind: 'command', when: 'before', ...before })
  steps.push(...rolled(targets, { soakMs, force }), { kind: 'verify' })
  if (after) steps.push({ kind: 'command', when: 'after', ...after })
  return steps
}

// What has been updated must be healthy, then the others are rolled. The commands are the start's and the end's.
function onward({ targets, soakMs, force }: RollFacts, { updated, out, isLoaded }: Standing): Step[] {
  const done = targets.filter(({ service }) => updated.has(service))
  const left = targets.filter(({ service }) => !updated.has(service))
  const [waiting] = out
  const last = done.at(-1)
  const steps: Step[] = done.map(({ service }) => ({ kind: 'await-healthy', service }))
  if (waiting !== undefined || !isLoaded) steps.push(putBack(waiting))
  if (soakMs > 0 && last?.isLive) steps.push({ kind: 'soak', service: last.service, ms: soakMs })
  return [...steps, ...rolled(left, { soakMs, force }), { kind: 'verify' }]
}

function rolled(targets: readonly Target[], { soakMs, force }: Pick<RollFacts, 'soakMs' | 'force'>): Step[] {
  const steps: Step[] = []
  let waiting: string | undefined
  for (const { service, from, to, isLive } of targets) {
    if (isLive) {
      steps.push(...takeOut(service, waiting))
      waiting = undefined
    }
    steps.push(
      { kind: 'update', service, from, to, undo: false, ...(force ? { force } : {}) },
      { kind: 'await-healthy', service },
    )
    if (!isLive) continue
    if (soakMs > 0) steps.push(putBack(service), { kind: 'soak', service, ms: soakMs })
    else waiting = service
  }
  if (waiting !== undefined) steps.push(putBack(waiting))
  return steps
}

// The way there, reversed, so that it loses no request either: what was rolled last goes back first.
function back({ targets }: RollFacts, { updated, out, isLoaded, dead }: Standing): Step[] {
  const steps: Step[] = []
  let [waiting] = out
  for (const { service, from, to, isLive } of targets.toReversed()) {
    if (!updated.has(service)) continue
    // One that is out already by what nginx runs needs no second taking out.
    if (isLive && !(waiting === service && isLoaded)) {
      steps.push(...takeOut(service, waiting === service ? undefined : waiting))
      waiting = service
    }
    steps.push(
      { kind: 'update', service, from: to, to: from, undo: true },
      { kind: 'await-healthy', service },
    )
  }
  if (waiting !== undefined || !isLoaded) steps.push(putBack(waiting))
  return steps.length === 0 ? [] : [...recreateDeadFirst(steps, dead), { kind: 'verify' }]
}

// All of them at once, before anything looks at how they are: a switch, and a wait for another service, refuse while one is dead.
function recreateDeadFirst(steps: readonly Step[], dead: readonly string[]): Step[] {
  const ofDead = (kind: Step['kind']) => (step: Step) =>
    step.kind === kind && 'service' in step && dead.includes(step.service)
  const first = [...steps.filter(ofDead('update')), ...steps.filter(ofDead('await-healthy'))]
  return [...first, ...steps.filter((step) => !first.includes(step))]
}

function takeOut(service: string, waiting: string | undefined): Step[] {
  return [
    { kind: 'switch', out: service, ...(waiting === undefined ? {} : { back: waiting }) },
    { kind: 'drain', service },
  ]
}

/** Nobody: nginx loads its file anew. */
function putBack(service: string | undefined): Step {
  return { kind: 'switch', ...(service === undefined ? {} : { back: service }) }
}
