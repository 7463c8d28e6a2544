// One deploy in a world, whatever happens to it: the agent lives as often as it must, and then is judged how it ended.

import type { AnyRequest } from '../../../shared/request.ts'
import type { FakeWorld } from '../fake-world.ts'
import type { Hurt } from './containers.ts'
import type { FakeDeploy } from './deploy.ts'
import type { Fault } from './faults.ts'
import { expectationOf, judgeEnd, wrongDamage, type Expectation } from './oracle.ts'
import type { Deed } from './people.ts'

export interface Trial {
  readonly request: AnyRequest
  readonly isAutomatic?: boolean
  /** The last instance does not answer by then. */
  readonly sick?: Hurt | undefined
  /** What goes wrong in each life of the agent; in the one after them nothing does. */
  readonly lives: readonly (readonly Fault[])[]
  /** How long the agent is away after a crash. */
  readonly awayMs?: number
  /** What people do, so long after the deploy has begun. */
  readonly deeds?: readonly { readonly atMs: number; readonly deed: Deed }[]
}

export interface Tried {
  readonly deploy: FakeDeploy
  readonly expected: Expectation
  readonly wrong: readonly string[]
}

export async function tryDeploy(world: FakeWorld, trial: Trial): Promise<Tried> {
  const { request, isAutomatic = false, lives, awayMs, deeds = [] } = trial
  world.people.forget()
  if (trial.sick !== undefined) world.hurt(world.instances.at(-1) ?? '', trial.sick)
  const expected = expectationOf(world, request, isAutomatic)
  const deploy = world.begin(request, { isAutomatic })
  const cancels = deeds.map(({ atMs, deed }) => world.clock.after(atMs, () => world.people.do(deed)))
  const wrong: string[] = []
  try {
    for (const faults of [...lives, []]) {
      const life = await deploy.live(faults)
      if (deploy.isOver || !life.hasCrashed) break
      await world.away(awayMs)
    }
  } catch (error) {
    wrong.push(`thrown: ${error instanceof Error ? error.stack : String(error)}`)
  } finally {
    for (const cancel of cancels) cancel()
  }
  if (!deploy.isOver)
    return { deploy, expected, wrong: [...wrong, `the deploy has no end, it is ${deploy.status}`] }
  wrong.push(...wrongDamage(world, deploy, expected))
  await world.settle()
  wrong.push(...judgeEnd(world, deploy, expected), ...world.failures())
  return { deploy, expected, wrong }
}
