// The agent: a frame from the hub -> journal -> verified -> queue -> roll -> events -> journal -> hub. All wiring, no decisions.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { isFinal } from '../shared/deploy.ts'
import type { DeployEvent } from '../shared/events.ts'
import { Problem, reportOf, type ProblemReport } from '../shared/problems.ts'
import { PROTOCOL_VERSION, type DeployFrame } from '../shared/protocol.ts'
import type { DeployRequest } from '../shared/request.ts'
import { signToken } from '../shared/tokens.ts'
import { describeEvent, EMPTY_PICTURE, nextPicture, type Picture } from '../shared/words.ts'
import type { Config, StackConfig } from './config.ts'
import type { HostKey } from './identity.ts'
import type { Journal } from './journal.ts'
import { Link, type LinkTiming } from './link.ts'
import type { Log } from './log.ts'
import { Outbox } from './outbox.ts'
import type { Ports } from './ports.ts'
import { Queue, type Queued } from './queue.ts'
import type { recover, roll, RollContext } from './roll/roll.ts'
import { verifyFrame } from './verify.ts'

/** The token is for one dial: as long as the slowest handshake, and a bad clock's tolerance comes on top. */
const LINK_TOKEN_SECONDS = 60
/** At the end, for the hub to store the last events. What it has not by then, it gets after the next start. */
const FLUSH_MS_MAX = 3000
const FLUSH_POLL_MS = 20
const TRIM_INTERVAL_MS = 3600_000

export interface AgentOptions {
  readonly config: Config
  readonly key: HostKey
  readonly journal: Journal
  readonly ports: Ports
  readonly roll: typeof roll
  readonly recover: typeof recover
  readonly version: string
  readonly log: Log
  readonly onConnected: () => void
  /** Ends the agent: running rolls undo, their events go out, the socket closes. */
  readonly signal: AbortSignal
  readonly timing?: Partial<LinkTiming>
}

interface Work extends Queued {
  readonly stackConfig: StackConfig
  readonly request: DeployRequest
}

/** Runs until the signal; resolves when all has ended. The journal stays the caller's to close. */
export async function startAgent(options: AgentOptions): Promise<void> {
  const { config, key, journal, ports, log, signal } = options
  const pictures = new Map<string, Picture>()
  const linkStop = new AbortController()
  const rollStop = new AbortController()
  // A recovery is a way back: stopping it half way would only make another one necessary.
  const neverStop = new AbortController()

  const link = new Link({
    relay: config.relay,
    host: config.host,
    token: () =>
      signToken(key.privateKey, {
        host: config.host,
        audience: config.relay,
        actor: 'agent',
        scopes: ['agent'],
        ttlSeconds: LINK_TOKEN_SECONDS,
        now: new Date(),
      }),
    hello: {
      type: 'hello',
      v: PROTOCOL_VERSION,
      agent: options.version,
      stacks: config.stacks.map(({ name }) => name),
      triggers: config.stacks.flatMap(({ triggers }) => triggers),
    },
    log,
    onWelcome: () => {
      options.onConnected()
      outbox.connected()
    },
    onDeploy: (frame) => {
      try {
        if (journal.receive(frame, Date.now()) === 'new') considerNext(frame, new Date())
        // A known one is delivered again because the hub has not heard of it yet.
        outbox.grown(frame.id)
      } catch (error) {
        // A full disk: not stored is not received, so the hub delivers it again.
        log('warn', `deploy ${frame.id} cannot be stored: ${reportOf(error).message}`)
      }
    },
    onStored: (frame) => outbox.stored(frame.deploy, frame.seq),
    ...(options.timing === undefined ? {} : { timing: options.timing }),
  })
  const outbox = new Outbox(journal, (frame) => link.send(frame))

  const emit = (id: string, event: DeployEvent) => {
    const logged = journal.append(id, event, Date.now())
    outbox.grown(id)
    const picture = nextPicture(pictures.get(id) ?? EMPTY_PICTURE, logged)
    pictures.set(id, picture)
    if (isFinal(journal.statusOf(id))) pictures.delete(id)
    const words = describeEvent(picture, logged)
    if (words !== undefined) log('info', `deploy ${id}: ${words}`)
  }

  // Whatever the roll does, its deploy gets a final event: without one the stack's state is unknown, and only a person can tell.
  const finish = async (id: string, stop: AbortSignal, work: (context: RollContext) => Promise<void>) => {
    const startedAt = performance.now()
    let fault: unknown = new Problem('internal', 'the roll ended without an outcome')
    try {
      await work({
        emit: (event) => emit(id, event),
        remember: (record) => journal.record(id, record),
        signal: stop,
      })
    } catch (error) {
      fault = error
    }
    if (isFinal(journal.statusOf(id))) return
    // Stopped in the middle: it stays `running` in the journal, and the next start recovers it.
    if (signal.aborted) return
    log('warn', `deploy ${id}: ${reportOf(fault).message}`)
    emit(id, { type: 'stuck', ms: elapsed(startedAt), problem: reportOf(fault), undo: UNKNOWN_STATE })
  }

  const queue = new Queue<Work>({
    run: async ({ id, stack, stackConfig, request }) => {
      await recovered.get(stack)
      if (signal.aborted) return
      await finish(id, rollStop.signal, (context) => options.roll(stackConfig, request, ports, context))
    },
    onSuperseded: ({ id }, by) => emit(id, { type: 'superseded', by: by.id }),
  })

  const consider = async (frame: DeployFrame, receivedAt: Date) => {
    try {
      const { stack, request, actor } = await verifyFrame(frame, config, key.publicJwk, receivedAt)
      log('info', `deploy ${frame.id} of ${stack.name}, asked for by ${actor}`)
      queue.add({ id: frame.id, stack: stack.name, stackConfig: stack, request })
    } catch (error) {
      emit(frame.id, { type: 'failed', ms: 0, problem: reportOf(error) })
    }
  }

  // One after the other, so that a newer request cannot overtake an older one on the way to the queue.
  let considered = Promise.resolve()
  const considerNext = (frame: DeployFrame, receivedAt: Date) => {
    considered = considered.then(() => consider(frame, receivedAt))
  }

  const unfinished = journal.unfinished()
  const recovered = recoverAll(unfinished.filter(({ status }) => status === 'running'))
  for (const { frame, status, receivedAt } of unfinished)
    if (status === 'queued') considerNext(frame, new Date(receivedAt))

  function recoverAll(interrupted: readonly { frame: DeployFrame }[]): Map<string, Promise<void>> {
    const lanes = new Map<string, Promise<void>>()
    for (const { frame } of interrupted) {
      const before = lanes.get(frame.stack) ?? Promise.resolve()
      lanes.set(
        frame.stack,
        before.then(() => recoverOne(frame)),
      )
    }
    return lanes
  }

  async function recoverOne({ id, stack }: DeployFrame): Promise<void> {
    const found = config.stacks.find(({ name }) => name === stack)
    log('warn', `deploy ${id} of ${stack} was interrupted by the agent's end: recovering`)
    await finish(id, neverStop.signal, async (context) => {
      if (!found)
        throw new Problem(
          'stack-unknown',
          `the agent ended while it rolled ${stack}, which ${config.path} lacks now`,
        )
      await options.recover(found, journal.recordOf(id), ports, context)
    })
  }

  const trim = setInterval(() => journal.trim(Date.now()), TRIM_INTERVAL_MS)
  journal.trim(Date.now())
  const linked = link.run(linkStop.signal)
  if (!signal.aborted) await once(signal, 'abort')

  rollStop.abort(new Problem('interrupted', 'the agent was told to stop'))
  await Promise.all([queue.stop(), ...recovered.values()])
  for (const end = Date.now() + FLUSH_MS_MAX; !outbox.isEmpty() && link.isUp && Date.now() < end;)
    await sleep(FLUSH_POLL_MS)
  clearInterval(trim)
  outbox.stop()
  linkStop.abort()
  await linked
  await considered
}

const UNKNOWN_STATE: ProblemReport = {
  code: 'internal',
  message: 'it is not known how far the roll came',
  cure: 'compare what runs with the compose file and the nginx configuration',
}

function elapsed(startedAt: number): number {
  return Math.round(performance.now() - startedAt)
}
