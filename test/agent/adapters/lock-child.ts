// Another process at a stack's lock. It says what came of it and keeps it until its end; `again and again` takes it many times, and fails
// when another is in the same room.

import { rmSync, writeFileSync } from 'node:fs'
import { hostLocks } from '../../../agent/adapters/locks.ts'
import { reportOf } from '../../../shared/problems.ts'
import { stackAt } from './stack-at.ts'

const ROUNDS = 150
const [compose = '', who = ''] = process.argv.slice(2)
const locks = hostLocks()
const stack = stackAt(compose)
const room = `${compose}.room`

async function once(): Promise<void> {
  await locks.take(stack, who)
  console.log('taken')
  process.stdin.resume()
}

async function again(): Promise<void> {
  console.log('begun')
  for (let round = 0; round < ROUNDS;) {
    const lock = await locks.take(stack, who).catch((error: unknown) => {
      if (reportOf(error).code !== 'stack-busy') throw error
    })
    if (!lock) {
      await new Promise((done) => setTimeout(done, 1))
      continue
    }
    writeFileSync(room, who, { flag: 'wx' }) // fails where there is one already
    await new Promise((done) => setImmediate(done))
    rmSync(room)
    await lock.release()
    round += 1
  }
}

await (who.endsWith('again and again') ? again() : once()).catch((error: unknown) => {
  console.log(reportOf(error).message)
  process.exit(reportOf(error).code === 'stack-busy' ? 0 : 1)
})
