// Microsoft Teams, as far as it goes: what an outgoing webhook sends.

import { createHmac } from 'node:crypto'
import { ask, type Answer } from '../relay.ts'

export const SECRET = 'vqF0En+Z0ucuRTM/01o2GuhMH3hKKk/N2bOmlM31zaA='
export const TENANT = '72f988bf-86f1-41af-91ab-2d7cd011db47'
export const CHANNEL = '19:253b1f341670408fb6fe51050b6e5ceb@thread.skype'
export const ANNA = 'c33ed3f0-0f3b-4f0c-9d43-3a8e4e3b1b51'
export const MALLORY = 'ffffffff-0f3b-4f0c-9d43-3a8e4e3b1b51'

type Json = ReturnType<typeof JSON.parse>
let activities = 1485983194839

export function activity(text: string, over: Json = {}): Json {
  return {
    type: 'message',
    id: String(++activities),
    timestamp: new Date().toISOString(),
    serviceUrl: 'https://smba.trafficmanager.net/emea/',
    channelId: 'msteams',
    from: {
      id: '29:1XJKJMvc5GBtc2JwZq0oj8tHZmzrQgFmB39ATiQWA85gQtHieVkKilBZ9XHoq9j7Zaqt7CZ-NJWi7me2kHTL3Bw',
      name: 'Anna',
      aadObjectId: ANNA,
    },
    conversation: { isGroup: true, id: `${CHANNEL};messageid=1485983194839` },
    recipient: null,
    text: `<at>ropeway</at>&nbsp;${text}\n`,
    textFormat: 'plain',
    channelData: { tenant: { id: TENANT }, channel: { id: CHANNEL }, team: { id: '19:team@thread.skype' } },
    ...over,
  }
}

export function send(
  url: string,
  said: Json,
  { secret = SECRET, header }: { secret?: string; header?: string } = {},
): Promise<Answer> {
  const body = JSON.stringify(said)
  const mac = createHmac('sha256', Buffer.from(secret, 'base64')).update(body).digest('base64')
  return ask(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8', authorization: header ?? `HMAC ${mac}` },
    body,
  })
}
