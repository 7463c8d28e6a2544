// A Worker that verifies and reads what a sender sent, as often as it is told: what the hub does before it stores anything. JavaScript,
// because TypeScript would check it with Node's types, like everything below test/, and the Worker's parts have others.

import { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import { isOidc } from '../../shared/triggers/oidc.ts'
import { isPushTrigger } from '../../shared/triggers/pushes.ts'
import { verifyPush } from '../../worker/hub/pushes.ts'
import { verifyHook, verifyJob } from '../../worker/hub/verify.ts'

const HOST = 'vps-1'

function onRefused(message) {
  console.error(message)
}

async function verify({ trigger, headers, secret, jwks }, body, now) {
  const keys = new IssuerKeys({ get: () => ({ jwks, at: now }), put: () => {} })
  if (isPushTrigger(trigger))
    return verifyPush(HOST, trigger, { headers, body, secret }, { issuers: keys, now, onRefused })
  if (isOidc(trigger))
    return verifyJob(HOST, trigger, { headers, body }, { keys, now, isFollowed: () => false, onRefused })
  return verifyHook(HOST, trigger, { headers, body }, { now, onStale: onRefused })
}

export default {
  async fetch(request) {
    const asked = JSON.parse(decodeURIComponent(request.headers.get('x-asked')))
    const body = new Uint8Array(await request.arrayBuffer())
    const now = Date.now()
    let last
    for (let n = 0; n < asked.times; n += 1) last = await verify(asked, body, now)
    return Response.json(last === undefined ? {} : { isGood: last.asked !== undefined })
  },
}
