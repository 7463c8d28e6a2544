// What the demo shows of a roll: the place of each server by the deploy's events, and what clients got. Pure.

import type { LoggedEvent } from '../../shared/events.ts'
import type { ToldStep } from '../../shared/plan.ts'

export type Place = 'in' | 'out' | 'draining' | 'updating' | 'starting' | 'healthy'

export interface Picture {
  readonly steps: readonly ToldStep[]
  readonly places: Readonly<Record<string, Place>>
  /** How long each step that is over took. */
  readonly durations: readonly { readonly step: ToldStep; readonly ms: number }[]
}

export function firstPicture(services: readonly string[]): Picture {
  return { steps: [], places: Object.fromEntries(services.map((service) => [service, 'in'])), durations: [] }
}

export function nextPicture(picture: Picture, { event }: LoggedEvent): Picture {
  switch (event.type) {
    case 'planned':
      return { ...picture, steps: event.plan.steps }
    case 'undoing':
      return { ...picture, steps: [...picture.steps, ...event.steps] }
    case 'step-started': {
      const step = picture.steps[event.step]
      return step ? { ...picture, places: { ...picture.places, ...placesDuring(step) } } : picture
    }
    case 'step-finished': {
      const step = picture.steps[event.step]
      if (!step) return picture
      return {
        ...picture,
        places: { ...picture.places, ...placesAfter(step) },
        durations: [...picture.durations, { step, ms: event.ms }],
      }
    }
    default:
      return picture
  }
}

function placesDuring(step: ToldStep): Record<string, Place> {
  if (step.kind === 'drain') return { [step.service]: 'draining' }
  if (step.kind === 'update') return { [step.service]: 'updating' }
  if (step.kind === 'await-healthy') return { [step.service]: 'starting' }
  return {}
}

function placesAfter(step: ToldStep): Record<string, Place> {
  if (step.kind === 'drain') return { [step.service]: 'out' }
  if (step.kind === 'await-healthy') return { [step.service]: 'healthy' }
  if (step.kind !== 'switch') return {}
  return {
    ...(step.out === undefined ? {} : { [step.out]: 'out' as const }),
    ...(step.back === undefined ? {} : { [step.back]: 'in' as const }),
  }
}
