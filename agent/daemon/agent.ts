// The agent: a frame from the hub -> verified (intake) -> journal -> its lane -> roll (runner) -> events -> journal -> hub, and whoever is
// notified. All wiring, no decisions.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../../shared/problems.ts'
import { signToken } from '../../shared/tokens.ts'
import { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import type { Config } from '../config/config.ts'
import type { Identity } from '../identity/identity.ts'
import { Intake } from './intake.ts'
import { Writer } from './journal/writer.ts'
import { checkHello, helloOf } from './link/hello.ts'
import { Link, type LinkTiming } from './link/link.ts'
import { Outbox } from './link/outbox.ts'
import { Lanes } from './lane.ts'
import { limited, type Log } from '../log.ts'
import type { Listing } from '../notify/listing.ts'
import { Notifier, type NotifierOptions } from '../notify/notifier.ts'
import { Runner, type RunnerOptions, type Work } from './runner.ts'

/** The token is for one dial: as long as the slowest handshake, and a bad clock's tolerance comes on top. */
const LINK_TOKEN_SECONDS = 60
/** At the end, for the hub to store the last events, and for the last notices to go out. What is not done by then is, after the next start. */
const FLUSH_MS_MAX = 3000
const FLUSH_POLL_MS = 20
const TRIM_INTERVAL_MS = 3600_000

export interface AgentOptions extends RunnerOptions {
  readonly identity: Identity
  /** What became of a stack's notices. */
  readonly showNotices: (stack: string, listing: Listing) => void
  readonly sendNotice?: NotifierOptions['send']
  readonly version: string
  readonly onConnected: () => void
  readonly timing?: Partial<LinkTiming>
}

/**
 * Runs until the signal; resolves when all has ended. The journal stays the caller's to close. Throws `config-invalid` when the relay
 * could not take the host's triggers.
 */
export async function startAgent(options: AgentOptions): Promise<void> {
  const { config, journal, signal } = options
  checkHello(config, options.version)
  const [linkStop, rollStop] = [new AbortController(), new AbortController()]
  const parts = wire(options, rollStop.signal)
  const { link, outbox, writer, runner, lanes, intake, notifier } = parts

  notifier.start()
  goOn(options, lanes, runner)
  const trimNow = () => writer.attempt(() => journal.trim(Date.now()))
  const trim = setInterval(trimNow, TRIM_INTERVAL_MS)
  trimNow()
  const linked = link.run(linkStop.signal)
  if (!signal.aborted) await once(signal, 'abort')

  rollStop.abort(new Problem('interrupted', 'the agent was told to stop'))
  await lanes.stop()
  await flush(parts, options.log)
  clearInterval(trim)
  linkStop.abort()
  await linked
  await intake.end()
  outbox.stop()
  writer.stop()
}

interface Parts {
  readonly link: Link
  readonly outbox: Outbox
  readonly writer: Writer
  readonly runner: Runner
  readonly lanes: Lanes<Work>
  readonly intake: Intake
  readonly notifier: Notifier
}

// Who hears of what: each part knows the others by these functions alone.
function wire(options: AgentOptions, rollStop: AbortSignal): Parts {
  const { config, identity, journal, log } = options
  const relayLog = limited(log)
  const link = new Link({
    relay: config.relay,
    host: config.host,
    token: () => linkToken(config, identity),
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
  const runner = new Runner(options, writer)
  const lanes = new Lanes<Work>(config.stacks, {
    run: (deploy, cancelled) => runner.roll(deploy, AbortSignal.any([rollStop, cancelled])),
    onSuperseded: ({ id }, by) => runner.emit(id, { type: 'superseded', by: by.id }, relayLog),
    onExpired: ({ id }) => runner.emit(id, { type: 'expired' }),
    onCancelled: ({ id }, by) => runner.emit(id, { type: 'cancelled', by }),
  })
  const intake = new Intake({
    config,
    trusted: { ...identity, issuers: new IssuerKeys() },
    journal,
    writer,
    log: relayLog,
    onUnacknowledged: (id) => outbox.grown(id),
    lanes,
    send: (frame) => link.send(frame),
  })
  const { version, showNotices: show, sendNotice: send } = options
  const notifier = new Notifier({
    config,
    journal,
    writer,
    log,
    version,
    show,
    ...(send === undefined ? {} : { send }),
  })
  return { link, outbox, writer, runner, lanes, intake, notifier }
}

// The last events and notices go out, for a bounded time.
async function flush({ writer, notifier, outbox, link }: Parts, log: Log): Promise<void> {
  if (!writer.flush())
    log('warn', 'the last events could not be stored: the next start goes by what the journal has')
  const notified = notifier.end(FLUSH_MS_MAX)
  for (const end = Date.now() + FLUSH_MS_MAX; !outbox.isEmpty() && link.isUp && Date.now() < end;)
    await sleep(FLUSH_POLL_MS)
  await notified
}

async function linkToken({ host, relay }: Config, identity: Identity): Promise<string> {
  const { privateKey } = await identity.signingKey()
  return await signToken(privateKey, {
    host,
    audience: relay,
    actor: 'agent',
    scopes: ['agent'],
    ttlSeconds: LINK_TOKEN_SECONDS,
    now: new Date(),
  })
}

// With what the agent before has left: what it was at is recovered; what waited was verified when it was taken in, and the roll asks the
// host's policy again.
function goOn({ config, journal }: AgentOptions, lanes: Lanes<Work>, runner: Runner): void {
  const unfinished = journal.unfinished()
  for (const deploy of unfinished)
    if (deploy.status === 'running')
      lanes.orNew(deploy.stack).recover(deploy, (cancelled) => runner.recover(deploy, cancelled))
  for (const deploy of unfinished) {
    const stackConfig = config.stacks.find(({ name }) => name === deploy.stack)
    if (deploy.status !== 'queued') continue
    if (stackConfig) lanes.of(deploy.stack)?.add({ ...deploy, stackConfig })
    else runner.emit(deploy.id, { type: 'failed', ms: 0, problem: runner.stackGone(deploy.stack).toJSON() })
  }
}
