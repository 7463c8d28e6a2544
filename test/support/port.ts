// A port of this machine's for a server that is started later, or again and again.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { threadId } from 'node:worker_threads'

/** Below the ports that a connection takes for its own end: none takes one that a server leaves for a moment. */
const { FIRST, END } = { FIRST: 10_240, END: lowestOfConnections() }
/** So many ports are each thread's own. Two whose ids are 1,400 apart share them, and find them taken. */
const OWN = 16
const SLICES = Math.floor((END - FIRST) / OWN)

let given = 0

/** One that nothing listens on, and that no other test process is given. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < OWN; tries += 1) {
    const port = FIRST + ((process.pid + threadId) % SLICES) * OWN + (given % OWN)
    given += 1
    if (await isFree(port)) return port
  }
  throw new Error(`none of the ${OWN} ports of process ${process.pid} is free`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

function lowestOfConnections(): number {
  return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t')[0])
}
