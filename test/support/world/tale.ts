// A tale: what happens to one stack, as data, so that chance can make one up and a failed one can be shrunk. Telling it finds what is wrong.

import type { StackConfig } from '../../../agent/config/config.ts'
import { FakeWorld } from '../fake-world.ts'
import type { FakeDeploy } from './deploy.ts'
import { fakeImage } from './images.ts'
import type { Expectation } from './oracle.ts'
import { tryDeploy, type Trial } from './trial.ts'

export interface Tale {
  readonly stack: TaleStack
  readonly deploys: readonly Trial[]
}

export interface TaleStack {
  readonly instances: 2 | 3 | 4
  readonly mount: 'file' | 'directory'
  readonly image: 'ghcr.io/acme/hello:v1' | 'hello:v1'
  readonly hasHealthcheck: boolean
  readonly keepaliveMinTimeoutMs: 0 | 200
  /** Whether the user has a server down, where that leaves two. */
  readonly hasDown: boolean
  readonly hasOverride: boolean
  readonly isDualStack?: boolean
  readonly isTls?: boolean
  readonly requestMs: number
  readonly config: Partial<Pick<StackConfig, 'soakMs' | 'deadlineMs' | 'releasesKept' | 'before' | 'after'>>
}

export interface Told {
  readonly wrong: readonly string[]
  readonly story: string
  readonly world: FakeWorld
  /** As far as it was told. */
  readonly deploys: readonly FakeDeploy[]
}

/** The tale without what did not happen in it. */
export function withoutIdle(tale: Tale, { deploys }: Told): Tale {
  const happened = tale.deploys.slice(0, deploys.length).map((trial, index) => ({
    ...trial,
    lives: (deploys[index]?.lives ?? []).map(({ met }) => [...new Set(met.map(({ fault }) => fault))]),
  }))
  return { ...tale, deploys: happened }
}

const TLS_SITE = `  server {
    listen 443 ssl;
    server_name hello.example;
    location / { proxy_set_header Host $host; proxy_pass http://apps; }
  }
`
export const OVERRIDE_PATH = '/srv/hello/override.yml'

export async function tell(tale: Tale): Promise<Told> {
  const world = worldOf(tale.stack)
  const deploys: FakeDeploy[] = []
  const wrong: string[] = []
  for (const deploy of tale.deploys) {
    wrong.push(...(await tellDeploy(world, deploy, deploys)))
    if (wrong.length > 0) break
  }
  return { wrong, story: world.story(), world, deploys }
}

async function tellDeploy(world: FakeWorld, trial: Trial, deploys: FakeDeploy[]): Promise<readonly string[]> {
  const { deploy, expected, wrong } = await tryDeploy(world, trial)
  deploys.push(deploy)
  if (wrong.length > 0) return wrong
  return await tidied(world, expected, deploy.status)
}

// A person sets right what is theirs to set right, and after that nothing may be wrong.
async function tidied(world: FakeWorld, { textsBefore }: Expectation, status: string): Promise<string[]> {
  const { people, files, stack } = world
  if (status !== 'stuck' && people.deeds === 0) return []
  const keep = status === 'succeeded' ? stack.compose : []
  const own = Object.keys(textsBefore).map((path) => [
    path,
    keep.includes(path) ? files.text(path) : world.moments.own(path),
  ])
  await people.tidy(Object.fromEntries(own) as Record<string, string>)
  return [...world.inconsistencies(), ...world.failures()].map((one) => `after tidying up: ${one}`)
}

function worldOf({ image, hasDown, hasOverride, config, isTls = false, ...shape }: TaleStack): FakeWorld {
  const services = Array.from({ length: shape.instances }, (_, index) => `app${index + 1}`)
  const override = services.map((service) => `  ${service}:\n    image: '${image}' # pinned\n`).join('')
  const world = new FakeWorld({
    ...shape,
    image,
    ...(isTls ? { sites: TLS_SITE } : {}),
    down: hasDown && shape.instances > 2 ? ['app2'] : [],
    ...(hasOverride ? { files: { [OVERRIDE_PATH]: `services:\n${override}` } } : {}),
    stack: {
      ...config,
      ...(hasOverride ? { compose: ['/srv/hello/docker-compose.yml', OVERRIDE_PATH] } : {}),
    },
  })
  world.images.push('ghcr.io/acme/hello:v3', fakeImage('hello v3', { startMs: 900 }))
  return world
}
