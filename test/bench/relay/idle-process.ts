// Thousands of agents in one process: each a host with a key of its own, a hello, a ping every 25 s, and a short answer to each deploy.

import type { WebSocket } from 'ws'
import { PING_INTERVAL_MS } from '../../../shared/limits.ts'
import { openFiles } from './proc.ts'
import { sendAll } from './connection.ts'
import { connectAgent, enroll, newHost, sendEvents, signedHook, type BenchHost } from './hosts.ts'
import { note, serve } from './processes.ts'

/** More at once would only wait in the relay. */
const AT_ONCE = 32
/** Of the files that workerd may open: an awake hub has three of them, a connection one. Beyond it SQLite could open no more. */
const OPEN_FILES_SHARE_MAX = 0.85
const FILES_POLL_MS = 100
/** For each request and each connection. */
const REPEATS_MAX = 3
/** For all of them. On two quiet cores ten thousand take a minute or so. */
const REACH_MS_MAX = 300_000

const hosts: BenchHost[] = []
const sockets: WebSocket[] = []
let closed = 0
let pongs = 0
let repeats = 0
/** When each host got the frame of its deploy. */
const reached = new Map<string, number>()
let onReached = () => {}
let origin = ''
let workerd = 0

serve({
  /** Enrolls hosts and connects their agents, each as soon as it is enrolled, until there are so many. */
  async connect({ url, pid, count }: { url: string; pid: number; count: number }) {
    origin = url
    workerd = pid
    const missing = Array.from({ length: count - hosts.length }, (_, index) => `idle-${hosts.length + index}`)
    const startedAt = performance.now()
    await sendAll(url, AT_ONCE, missing, async (connection, name) => {
      await room()
      const host = await newHost(name, 1)
      await again(() => enroll(connection, url, host))
      sockets.push(await again(() => connectOne(host)))
      hosts.push(host)
    })
    return performance.now() - startedAt
  },

  /** How many are connected, how many pings have been answered, and how often something had to be repeated so far. */
  state: () => ({ open: sockets.length - closed, pongs, repeats }),

  /** One signed hook to each, and the time from the first one sent until the last agent has its deploy. */
  async reach({ connections }: { connections: number }) {
    reached.clear()
    const hooks: { host: string; request: Buffer }[] = []
    for (const { name, stacks } of hosts)
      hooks.push({ host: name, request: await signedHook(origin, name, stacks[0] ?? '') })
    const sentAt = new Map<string, number>()
    const all = Promise.withResolvers<void>()
    onReached = () => reached.size === hosts.length && all.resolve()
    const timer = setTimeout(
      () => all.reject(new Error(`${reached.size} of ${hosts.length} agents got their deploy`)),
      REACH_MS_MAX,
    )
    const startedAt = performance.now()
    await sendAll(origin, connections, hooks, async (connection, { host, request }) => {
      await room()
      sentAt.set(host, performance.now())
      const { status, body } = await again(() => connection.send(request))
      if (status !== 202 && status !== 200) throw new Error(`${host} was answered ${status}: ${body}`)
    })
    await all.promise
    clearTimeout(timer)
    const latest = Math.max(...reached.values())
    return {
      ms: latest - startedAt,
      each: [...reached].map(([host, at]) => at - (sentAt.get(host) ?? Number.NaN)),
    }
  },
})

// As senders and agents do. workerd resets a kept connection whose request came while it did something else for five seconds.
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let left = REPEATS_MAX; left > 0; left -= 1)
    try {
      return await work()
    } catch (error) {
      repeats += 1
      if (repeats === 1) note(`repeated: ${error instanceof Error ? error.message : String(error)}`)
    }
  return work()
}

async function connectOne(host: BenchHost): Promise<WebSocket> {
  const socket = await connectAgent(host, origin, (frame, answering) => {
    if (frame === 'pong') pongs += 1
    else if (frame.type === 'deploy') {
      if (!reached.has(host.name)) reached.set(host.name, performance.now())
      sendEvents(answering, frame.id, [
        { seq: 1, at: Date.now(), event: { type: 'received' } },
        { seq: 2, at: Date.now(), event: { type: 'succeeded', ms: 0, changed: false, services: {} } },
      ])
      onReached()
    }
  })
  const ping = setInterval(() => socket.send('ping'), PING_INTERVAL_MS)
  socket.once('close', (code) => {
    clearInterval(ping)
    closed += 1
    if (closed === 1) note(`an agent was closed with ${code}`)
  })
  return socket
}

let looking: Promise<void> | undefined

// Waits while workerd has too many files open: hubs that sleep again close theirs. All who wait look once together.
async function room(): Promise<void> {
  if (filesFreeUntil > performance.now()) return
  await (looking ??= look().finally(() => (looking = undefined)))
}

let filesFreeUntil = 0
async function look(): Promise<void> {
  for (;;) {
    const { open, max } = await openFiles(workerd)
    if (open < max * OPEN_FILES_SHARE_MAX) break
    await new Promise((done) => setTimeout(done, FILES_POLL_MS))
  }
  filesFreeUntil = performance.now() + FILES_POLL_MS
}
