// What a crash must not take with it: enough to take every file and container back. The agent's journal keeps it, opaque to it.

import type { Step } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import type { DeployRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'
import type { Ports } from '../ports.ts'
import { composeTexts, nginxTextWith, type RollState } from './context.ts'
import type { Observed } from './observe.ts'

interface RollRecord {
  readonly request: DeployRequest
  readonly observed: Observed
  readonly order: readonly string[]
  readonly image: RollState['image']
  readonly begun: readonly Step[]
  /** How many steps the deploy's events have named so far: the next one's index. */
  readonly told: number
  /** On the way back: what was left to do. */
  readonly left?: readonly Step[] | undefined
}

export function recordOf(
  { request, observed, order, image }: RollState,
  begun: readonly Step[],
  told: number,
  left?: readonly Step[],
): string {
  return JSON.stringify({ request, observed, order, image, begun, told, left } satisfies RollRecord)
}

/** The state of a recorded roll in the world as it is now. Throws when somebody else has changed a file since. */
export async function resumeRoll(
  stack: StackConfig,
  text: string,
  ports: Ports,
  signal: AbortSignal,
): Promise<Pick<RollRecord, 'begun' | 'told' | 'left'> & { state: RollState }> {
  const record = JSON.parse(text) as RollRecord
  const { proxy, model } = record.observed
  const containers = await ports.engine.containers(model.project, signal)
  const container = containers.find(
    (one) => one.service === proxy.container.service && one.state === 'running',
  )
  if (!container)
    throw new Problem('nginx-not-running', `service ${proxy.container.service} has no running container`)
  const texts: Record<string, string> = {}
  for (const path of stack.compose) texts[path] = await ports.files.read(path)
  const state: RollState = {
    stack,
    request: record.request,
    ports,
    observed: { ...record.observed, proxy: { ...proxy, container } },
    order: record.order,
    updated: new Set(),
    out: new Set(),
    nginxText: await ports.files.read(proxy.file.hostPath),
    composeTexts: texts,
    image: record.image,
    retiring: undefined,
    isLoaded: false,
  }
  for (const service of outNow(state)) state.out.add(service)
  for (const service of updatedNow(state)) state.updated.add(service)
  return { state, begun: record.begun, told: record.told, left: record.left }
}

// The file is one of those that this roll writes, or somebody else's.
function outNow(state: RollState): readonly string[] {
  const sets = [[], ...state.order.map((service) => [service])]
  const found = sets.find((services) => nginxTextWith(state, new Set(services)) === state.nginxText)
  if (found) return found
  throw new Problem(
    'nginx-changed',
    `${state.observed.proxy.file.hostPath} is not as any step of the roll wrote it`,
    {
      cure: 'put every server back by hand and reload nginx, then deploy again',
    },
  )
}

// Each file by itself: with several, the crash may have come between two writes of one update.
function updatedNow(state: RollState): readonly string[] {
  const candidates = subsets(state.order).map((set) => ({ set, texts: composeTexts(state, new Set(set)) }))
  return Object.entries(state.composeTexts).flatMap(([path, text]) => {
    const found = candidates.find(({ texts }) => texts[path] === text)
    if (found) return found.set
    throw new Problem('compose-changed', `${path} is not as any step of the roll wrote it`, {
      cure: 'see what changed there, then deploy again',
    })
  })
}

/** Beyond this many instances only the sets that a roll passes through by itself are looked for. */
const SUBSETS_INSTANCES_MAX = 8

// The way there passes through prefixes of the order; the way back, where a service had died, through others.
function subsets(order: readonly string[]): string[][] {
  if (order.length > SUBSETS_INSTANCES_MAX) return [...order, ''].map((_, count) => order.slice(0, count))
  return order.reduce<string[][]>((sets, service) => [...sets, ...sets.map((set) => [...set, service])], [[]])
}
