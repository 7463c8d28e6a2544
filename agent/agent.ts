// The agent: a frame from the hub -> verified -> journal -> queue -> roll -> events -> journal -> hub, and whoever is notified. All wiring,
// no decisions.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { chatTrigger } from '../shared/chat/chat.ts'
import { isFinal } from '../shared/deploy.ts'
import type { AgentEvent } from '../shared/events.ts'
import { Problem, reportOf, type ProblemReport } from '../shared/problems.ts'
import type { AnyRequest } from '../shared/request.ts'
import { signToken } from '../shared/tokens.ts'
import { IssuerKeys } from '../shared/triggers/issuer-keys.ts'
import { describeEvent, EMPTY_PICTURE, nextPicture, type Picture } from '../shared/words.ts'
import { lockPath } from './adapters/locks.ts'
import type { Config, StackConfig } from './config/config.ts'
import type { Identity } from './identity/identity.ts'
import { Intake } from './intake.ts'
import type { Journal, JournaledDeploy } from './journal/journal.ts'
import type { VerifiedDeploy } from './verified-deploy.ts'
import { Writer } from './journal/writer.ts'
import { checkHello, helloOf } from './link/hello.ts'
import { Link, type LinkTiming } from './link/link.ts'
import { Outbox } from './link/outbox.ts'
import { limited, type Log } from './log.ts'
import type { Listing } from './notify/listing.ts'
import { startNotifier, type NotifierOptions } from './notify/notifier.ts'
import type { Ports } from './ports.ts'
import { Queue, type Queued } from './queue.ts'
import type { recover } from './roll/recover.ts'
import type { Releases } from './roll/release.ts'
import type { roll } from './roll/roll.ts'
import type { RollContext } from './roll/roll-context.ts'
import type { StuckNotes } from './roll/stuck.ts'
import { RunningDeploys } from './running.ts'
import { BY_TOKEN } from './verify.ts'

/** The token is for one dial: as long as the slowest handshake, and a bad clock's tolerance comes on top. */
const LINK_TOKEN_SECONDS = 60
/** At the end, for the hub to store the last events, and for the last notices to go out. What is not done by then is, after the next start. */
const FLUSH_MS_MAX = 3000
const FLUSH_POLL_MS = 20
const TRIM_INTERVAL_MS = 3600_000

export interface AgentOptions {
  readonly config: Config
  readonly identity: Identity
  readonly journal: Journal
  readonly ports: Ports
  readonly roll: typeof roll
  readonly recover: typeof recover
  readonly releasesOf: (stack: string) => Releases
  readonly stuckOf: (stack: string) => StuckNotes
  /** What became of a stack's notices. */
  readonly showNotices: (stack: string, listing: Listing) => void
  readonly sendNotice?: NotifierOptions['send']
  readonly version: string
  readonly log: Log
  readonly onConnected: () => void
  /** Ends the agent: running rolls undo, their events go out, the socket closes. */
  readonly signal: AbortSignal
  readonly timing?: Partial<LinkTiming>
}

type Deploying = Pick<VerifiedDeploy, 'id' | 'stack' | 'actor' | 'trigger'>

interface Work extends Queued, Pick<VerifiedDeploy, 'actor' | 'trigger' | 'expiresAt'> {
  readonly stackConfig: StackConfig
  readonly request: AnyRequest
}

/**
 * Runs until the signal; resolves when all has ended. The journal stays the caller's to close. Throws `config-invalid` when the relay
 * could not take the host's triggers.
 */
export async function startAgent(options: AgentOptions): Promise<void> {
  const { config, identity, journal, ports, log, signal } = options
  checkHello(config, options.version)
  const relayLog = limited(log)
  const pictures = new Map<string, Picture>()
  const linkStop = new AbortController()
  const rollStop = new AbortController()
  const running = new RunningDeploys()
  const byPeople = [BY_TOKEN, ...config.chats.map(chatTrigger)]

  const link = new Link({
    relay: config.relay,
    host: config.host,
    token: async () =>
      signToken((await identity.signingKey()).privateKey, {
        host: config.host,
        audience: config.relay,
        actor: 'agent',
        scopes: ['agent'],
        ttlSeconds: LINK_TOKEN_SECONDS,
        now: new Date(),
      }),
    hello: async () => helloOf(config, options.version, await identity.revoked(new Date())),
    log,
    onWelcome: () => {
      options.onConnected()
      outbox.connected()
    },
    onDeploy: (frame) => intake.consider(frame),
    onCancel: (frame) => intake.cancel(frame),
    onStored: (frame) => writer.attempt(() => outbox.stored(frame.deploy, frame.seq)),
    ...(options.timing === undefined ? {} : { timing: options.timing }),
  })
  const outbox = new Outbox(journal, (frame) => link.send(frame))
  const writer = new Writer(journal, log, (id) => {
    outbox.grown(id)
    notifier.wake()
  })

  const emit = (id: string, event: AgentEvent, say = log) => {
    const at = Date.now()
    writer.append(id, event, at)
    // Words need no place in the log, which the event may have to wait for.
    const logged = { seq: 0, at, event }
    const picture = nextPicture(pictures.get(id) ?? EMPTY_PICTURE, logged)
    pictures.set(id, picture)
    if (isFinal(writer.statusOf(id))) pictures.delete(id)
    const words = describeEvent(picture, logged)
    if (words !== undefined) say('info', `deploy ${id}: ${words}`)
  }

  const contextOf = ({ id, stack, actor, trigger }: Deploying, stop: AbortSignal): RollContext => ({
    deploy: { id, actor, isAutomatic: !byPeople.includes(trigger) },
    releases: options.releasesOf(stack),
    stuck: options.stuckOf(stack),
    emit: (event: AgentEvent) => emit(id, event.type === 'cancelled' ? cancelledEvent(id, event) : event),
    remember: (record) => writer.record(id, record),
    signal: stop,
  })

  const cancelledEvent = (id: string, event: Extract<AgentEvent, { type: 'cancelled' }>): AgentEvent => {
    const by = running.cancelledBy(id)
    return by === undefined ? event : { ...event, by }
  }

  // Whatever the roll does, its deploy gets a final event: without one the stack's state is unknown, and only a person can tell. Never
  // rejects: nobody waits for it who could do anything.
  const finish = async (
    deploy: Deploying,
    stop: AbortSignal,
    work: (context: RollContext) => Promise<void>,
  ) => {
    const { id } = deploy
    const startedAt = performance.now()
    let fault: unknown = new Problem('internal', 'the roll ended without an outcome')
    try {
      await work(contextOf(deploy, stop)).catch((error: unknown) => (fault = error))
      if (isFinal(writer.statusOf(id))) return
      // Stopped in the middle: it stays `running` in the journal, and the next start recovers it.
      if (signal.aborted) return
      emit(id, { type: 'stuck', ms: elapsed(startedAt), problem: reportOf(fault), undo: UNKNOWN_STATE })
    } catch (error) {
      log('warn', `deploy ${id} has no end in the journal: ${reportOf(error).message}`)
    }
  }

  const queue = new Queue<Work>({
    run: (deploy) =>
      running.during(deploy, async (cancelled) => {
        const { id, lane, stackConfig, request } = deploy
        await recovered.get(lane)
        if (signal.aborted) return
        if (cancelled.aborted) return emit(id, cancelledEvent(id, { type: 'cancelled' }))
        if (deploy.expiresAt < Date.now()) return emit(id, { type: 'expired' })
        const stop = AbortSignal.any([rollStop.signal, cancelled])
        await finish(deploy, stop, (context) => options.roll(stackConfig, request, ports, context))
      }),
    onSuperseded: ({ id }, by) => emit(id, { type: 'superseded', by: by.id }, relayLog),
  })

  const intake = new Intake({
    config,
    trusted: { ...identity, issuers: new IssuerKeys() },
    journal,
    writer,
    log: relayLog,
    onUnheard: (id) => outbox.grown(id),
    onTakenIn: ({ deploy, stackConfig }) =>
      queue.add({ ...deploy, stackConfig, lane: lockPath(stackConfig) }),
    find: (id) => queue.find(id) ?? running.find(id),
    onCancelled: (id, by) => {
      if (queue.remove(id)) emit(id, { type: 'cancelled', by })
      else running.cancel(id, by)
    },
    send: (frame) => link.send(frame),
  })

  const notifier = startNotifier({
    config,
    journal,
    writer,
    log,
    version: options.version,
    show: options.showNotices,
    ...(options.sendNotice === undefined ? {} : { send: options.sendNotice }),
  })

  const unfinished = journal.unfinished()
  const recovered = recoverAll(unfinished.filter(({ status }) => status === 'running'))
  for (const deploy of unfinished) if (deploy.status === 'queued') resume(deploy)

  // It was verified when it was taken in; the roll asks the host's policy again.
  function resume(deploy: JournaledDeploy): void {
    const stackConfig = config.stacks.find(({ name }) => name === deploy.stack)
    if (!stackConfig) emit(deploy.id, { type: 'failed', ms: 0, problem: stackGone(deploy.stack).toJSON() })
    else queue.add({ ...deploy, stackConfig, lane: lockPath(stackConfig) })
  }

  function recoverAll(interrupted: readonly JournaledDeploy[]): Map<string, Promise<void>> {
    const lanes = new Map<string, Promise<void>>()
    for (const deploy of interrupted) {
      const found = config.stacks.find(({ name }) => name === deploy.stack)
      const lane = found ? lockPath(found) : deploy.stack
      const before = lanes.get(lane) ?? Promise.resolve()
      lanes.set(
        lane,
        running.during(deploy, (cancelled) => before.then(() => recoverOne(deploy, cancelled))),
      )
    }
    return lanes
  }

  // The agent's end does not stop it: a way back that is broken off would only make another one necessary. Who cancels the deploy stops what
  // goes on with it, and not a way back.
  async function recoverOne(deploy: JournaledDeploy, cancelled: AbortSignal): Promise<void> {
    const { id, stack, request } = deploy
    const found = config.stacks.find(({ name }) => name === stack)
    log('warn', `deploy ${id} of ${stack} was interrupted by the agent's end: recovering`)
    await finish(deploy, cancelled, async (context) => {
      if (!found) throw stackGone(stack)
      await options.recover(found, request, journal.recordOf(id), ports, context)
    })
  }

  function stackGone(stack: string): Problem {
    return new Problem('stack-unknown', `the agent had a deploy of ${stack}, which ${config.path} lacks now`)
  }

  const trimNow = () => writer.attempt(() => journal.trim(Date.now()))
  const trim = setInterval(trimNow, TRIM_INTERVAL_MS)
  trimNow()
  const linked = link.run(linkStop.signal)
  if (!signal.aborted) await once(signal, 'abort')

  rollStop.abort(new Problem('interrupted', 'the agent was told to stop'))
  await Promise.all([queue.stop(), ...recovered.values()])
  if (!writer.flush())
    log('warn', 'the last events could not be stored: the next start goes by what the journal has')
  const notified = notifier.end(FLUSH_MS_MAX)
  for (const end = Date.now() + FLUSH_MS_MAX; !outbox.isEmpty() && link.isUp && Date.now() < end;)
    await sleep(FLUSH_POLL_MS)
  await notified
  clearInterval(trim)
  linkStop.abort()
  await linked
  await intake.end()
  outbox.stop()
  writer.stop()
}

const UNKNOWN_STATE: ProblemReport = {
  code: 'internal',
  message: 'it is not known how far the roll came',
  cure: 'compare what runs with the compose file and the nginx configuration',
}

function elapsed(startedAt: number): number {
  return Math.round(performance.now() - startedAt)
}
