// The end of a roll, either way: every server back, every instance up, both files as they should be, and nginx answers.

import { Problem } from '../../../shared/problems.ts'
import { addressesFrom } from '../observe.ts'
import { probeHost, type RollState } from '../context.ts'
import { failIfAnyStopped, probeAll } from './await-healthy.ts'
import type { StepHandler } from './index.ts'

/** The gateway errors: what nginx answers when it reaches no server. */
const GATEWAY_ERRORS = [502, 503, 504]
const REQUEST_MS_MAX = 5_000

export const verify: StepHandler<'verify'> = {
  deadlineMs: () => 120_000,
  async do(_step, { roll, signal }) {
    const { files } = roll.ports
    const { file } = roll.observed.proxy
    if ((await files.read(file.hostPath, 'bytes')) !== file.text)
      throw new Problem('nginx-changed', `${file.hostPath} is not what the roll left`, {
        cure: 'see who changed it',
      })
    for (const [path, text] of Object.entries(roll.composeTexts))
      if ((await files.read(path)) !== text)
        throw new Problem('compose-changed', `${path} is not what the roll left`, {
          cure: 'see who changed it',
        })
    if (roll.out.size > 0 || ![0, roll.order.length].includes(roll.updated.size))
      throw new Error(`a roll ended with ${[...roll.out]} out and ${[...roll.updated]} updated`)
    const all = await failIfAnyStopped(roll, new Set(), signal)
    for (const { service, isLive } of roll.observed.instances) {
      const containers = all.filter((one) => one.service === service)
      const fault = isLive ? await probeAll(roll, service, containers, signal) : undefined
      if (fault !== undefined)
        throw new Problem('container-unhealthy', `${service} does not answer: ${fault}`)
    }
    return { requests: await askThroughNginx(roll, signal) }
  },
}

// One request for each server of the upstream, as clients come. What the user's nginx answers is their affair (a redirect, a 404),
// but it must not be that it reaches nobody.
async function askThroughNginx(roll: RollState, signal: AbortSignal): Promise<number> {
  const { settings, upstream } = roll.observed.proxy
  const ip = addressesFrom(roll.proxy, roll.proxy)[0]
  const listen = settings.listens.find(({ port }) => port > 0)
  if (ip === undefined || !listen) return 0
  const target = {
    ip,
    port: listen.port,
    tls: listen.tls,
    path: roll.stack.health.path,
    host: probeHost(roll),
  }
  for (let asked = 0; asked < upstream.servers.length; asked += 1) {
    const answer = await roll.ports.http.get(target, REQUEST_MS_MAX, signal)
    if ('fault' in answer || GATEWAY_ERRORS.includes(answer.status))
      throw new Problem(
        'proxy-unhealthy',
        `GET ${target.path} through nginx gives ${'fault' in answer ? answer.fault : answer.status}`,
      )
  }
  return upstream.servers.length
}
