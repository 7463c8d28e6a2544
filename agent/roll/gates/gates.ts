// The gates of a roll: every question that it asks of the new version, and that its way back asks of the old one. The answers from before the roll
// are kept, and later ones are compared with them: a good roll passes, and no more is asked of anybody than was there before.

import type { Remote } from '../../ports.ts'
import type { Proxy } from '../proxy.ts'
import type { SeenMember } from '../proxy.ts'
import { askerHere, DOOR_MS_MAX, type Answer, type Asker, type From } from './ask.ts'
import type { Door } from './door.ts'
import type { Ports } from '../ports.ts'

/** Plain data: the roll's record keeps it. */
export interface Gates {
  readonly probe: Probe
  readonly from: From
  /** The IP families by which members answer; nginx may know addresses of a family that no app listens on. */
  readonly families: readonly Family[]
  /** Whether Docker's own healthcheck counts, where a container has one. */
  readonly isDockerAsked: boolean
  /** How each service was before the roll. */
  readonly before: Readonly<Record<string, Before>>
  readonly doors: readonly OpenDoor[]
  /** What a person should know of how well these gates can judge. */
  readonly notes: readonly GateNote[]
}

export type Family = 4 | 6

/** What a member is asked. `none`: Docker's healthcheck alone tells. */
export type Probe = HttpProbe | { readonly kind: 'tcp' } | { readonly kind: 'none' }

export interface HttpProbe {
  readonly kind: 'http'
  readonly tls: boolean
  readonly path: string
  readonly host: string
  /** Statuses that a well member answers. */
  readonly good: readonly StatusRange[]
}

export interface StatusRange {
  readonly min: number
  readonly max: number
}

/** `gone`: no container of the service runs, or it restarts again and again, so nginx could not be reloaded with its name. */
export interface Before {
  readonly state: 'well' | 'sick' | 'gone'
  /** Whether it answered its probe, whatever Docker's healthcheck says: then clients are served by it. */
  readonly isAnswering: boolean
  /** Whether Docker's healthcheck called each of its containers healthy. */
  readonly isHealthyByDocker: boolean
  readonly said: string
}

/** A door at which the proxy answered before the roll, as it reached the members. */
export interface OpenDoor extends Door {
  readonly from: From
  readonly status: number
  /** Whether several requests in a row got different answers, as from a rate limit. There a 503 or a missing answer is no fault. */
  readonly isLimited: boolean
}

export interface GateNote {
  readonly code: string
  readonly message: string
  readonly cure: string
}

/** What a proxy answers when it reaches no server. */
export const GATEWAY_ERRORS: readonly number[] = [502, 503, 504]

export function remotesAt({ ports }: Pick<SeenMember, 'ports'>, ips: readonly string[]): Remote[] {
  return ips.flatMap((ip) => ports.map((port) => ({ ip, port })))
}

export const familyOf = (ip: string): Family => (ip.includes(':') ? 6 : 4)

export const isIn = (ranges: readonly StatusRange[], status: number) =>
  ranges.some(({ min, max }) => status >= min && status <= max)

/** The answer where a connection was taken, and no status was asked for. */
const CONNECTED: Answer = { status: 200 }

/** Asks one address what the gate asks. */
export async function askProbe(
  asker: Asker,
  probe: Probe,
  remote: Remote,
  signal: AbortSignal,
): Promise<Answer> {
  if (probe.kind === 'http') return await asker.http({ ...remote, ...probe }, signal)
  if (probe.kind === 'tcp') return (await asker.tcp(remote, signal)) ?? CONNECTED
  return CONNECTED
}

/** Whether the answer at a door means that the proxy reaches no member. */
export function isGatewayError({ isLimited }: Pick<OpenDoor, 'isLimited'>, answer: Answer): boolean {
  if ('fault' in answer) return !isLimited
  return GATEWAY_ERRORS.includes(answer.status) && !(isLimited && answer.status === 503)
}

/** What is wrong with a member: the answer of the first address that does not answer as it should; undefined where all do. */
export async function faultAt(
  { probe, families }: Pick<Gates, 'probe' | 'families'>,
  asker: Asker,
  remotes: readonly Remote[],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (probe.kind === 'none') return undefined
  const asked = remotes.filter(({ ip }) => families.includes(familyOf(ip)))
  if (asked.length === 0) return 'it has no address in a network that nginx is in'
  for (const remote of asked) {
    const answer = await askProbe(asker, probe, remote, signal)
    if (isGood(probe, answer)) continue
    if ('fault' in answer) return `${describeRemote(remote)} gives ${answer.fault}`
    return `GET ${probe.kind === 'http' ? probe.path : ''} at ${describeRemote(remote)} answers ${answer.status}`
  }
  return undefined
}

/** Whether an answer is that of a well member. */
export function isGood(probe: Probe, answer: Answer): boolean {
  return 'status' in answer && (probe.kind !== 'http' || isIn(probe.good, answer.status))
}

export function describeRemote({ ip, port }: Remote): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}:${port}`
}

/** The question, for a person. */
export function describeProbe(probe: Probe): string {
  if (probe.kind === 'none') return 'Docker’s healthcheck'
  if (probe.kind === 'tcp') return 'a TCP connection'
  return `GET ${probe.tls ? 'https:' : ''}${probe.path} (Host: ${probe.host})`
}

/** The asker that stands there. */
export function askerFrom(from: From, { http }: Pick<Ports, 'http'>, proxy: Pick<Proxy, 'asker'>): Asker {
  return from === 'agent' ? askerHere(http) : proxy.asker
}

/** Asks the proxy at a door, at its present address. */
export async function askThrough(
  door: Door & { readonly from: From },
  ports: Pick<Ports, 'http'>,
  proxy: Proxy,
  signal: AbortSignal,
): Promise<Answer> {
  const ip = proxy.addressOf(door.address, door.from)
  if (ip === undefined) return { fault: 'it has no address' }
  return await askerFrom(door.from, ports, proxy).http({ ...door, ip }, signal, DOOR_MS_MAX)
}
