// The Http port of the fake world: whoever is asked, an app or nginx, answers by where, by which name and for which page they are asked.

import type { Http } from '../../../agent/ports.ts'
import type { VirtualClock } from './clock.ts'
import { answerOf, type Answer, type Containers, type FakeContainer, type Question } from './containers.ts'
import type { FakeNginx } from './nginx.ts'

export interface HttpWorld {
  readonly clock: VirtualClock
  readonly containers: Containers
  readonly nginxes: readonly FakeNginx[]
  /** Whether the agent cannot reach the containers' network, as beside a rootless engine. */
  readonly isRootless: boolean
}

export function fakeHttp(world: HttpWorld): Http {
  return {
    async connect(remote, _timeoutMs, signal) {
      await world.clock.sleep(1, signal)
      if (world.isRootless) return 'EHOSTUNREACH'
      return await connects(world, remote, undefined)
    },
    async get(question, timeoutMs, signal) {
      await world.clock.sleep(3, signal)
      if (world.isRootless) return { fault: 'EHOSTUNREACH' }
      return await ask(world, question, undefined, timeoutMs, signal)
    },
  }
}

/** One connection from within a container, or from the host: why there is none, or undefined. */
export async function connects(
  world: HttpWorld,
  remote: { ip: string; port: number },
  from: FakeContainer | undefined,
): Promise<string | undefined> {
  const never = new AbortController().signal
  const question = { ...remote, path: '/', host: 'localhost', tls: false }
  const answer = await ask(world, question, from, 0, never)
  return 'fault' in answer && /^E(HOSTUNREACH|CONNREFUSED)$/.test(answer.fault) ? answer.fault : undefined
}

/** One GET from within a container, or from the host. */
export async function ask(
  world: HttpWorld,
  question: Question,
  from: FakeContainer | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<{ status: number } | { fault: string }> {
  const isLoopback = /^(127\.|::1$)/.test(question.ip)
  const container = isLoopback ? from : world.containers.byIp(question.ip)
  const nginx = world.nginxes.find((one) => one.container === container)
  const answer: Answer = container
    ? (nginx?.answer(question) ?? answerOf(container, question))
    : { fault: isLoopback ? 'ECONNREFUSED' : 'EHOSTUNREACH' }
  if ('fault' in answer) return answer
  const { status, afterMs = 0 } = answer
  if (afterMs === 0) return { status }
  await world.clock.sleep(Math.min(afterMs, timeoutMs), signal)
  return afterMs > timeoutMs ? { fault: `no answer within ${timeoutMs} ms` } : { status }
}
