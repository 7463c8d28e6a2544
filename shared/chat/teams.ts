// Microsoft Teams: an outgoing webhook, which gets the messages that mention it. They are signed with HMAC-SHA256 over the body, which has the
// time in it. It can be answered once, at once, and never after.
// https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook

import { z } from 'zod'
import { base64Bytes, hmacKeyOf } from '../mac.ts'
import { Problem } from '../problems.ts'
import { textOf, type Interaction, type Platform } from './platform.ts'
import { bodyText, jsonOf } from './proof.ts'

const TEXT_CHARS_MAX = 8000
const KEY_BYTES_MIN = 24

const id = z.string().min(1).max(200)
const activitySchema = z.object({
  type: z.literal('message'),
  id,
  timestamp: z.iso.datetime({ offset: true }),
  text: z.string(),
  from: z.object({ aadObjectId: id, name: z.string().max(200).default('') }),
  conversation: z.object({ id }),
  channelData: z.object({ tenant: z.object({ id }), channel: z.object({ id }).optional() }),
})

export const microsoftTeams: Platform = {
  name: 'Microsoft Teams',
  headers: ['authorization'],
  body: 'json',
  keyName: 'secret',
  keyFault: (key) =>
    (base64Bytes(key)?.length ?? 0) >= KEY_BYTES_MIN
      ? undefined
      : 'is not the security token that Teams shows',
  needsToken: false,
  tokenFault: () => 'is of no use: Teams takes nothing but the one answer',
  hasServer: false,
  hasButtons: false,
  repeatsRefused: false,
  ids: { team: /^[0-9a-f-]{36}$/, channel: /^19:[\w-]{1,100}@thread\.\w{1,20}$/, user: /^[0-9a-f-]{36}$/ },
  firstShowMs: undefined,

  async verify({ headers, body }, keys) {
    const [, text = ''] = /^HMAC ([A-Za-z0-9+/]{43}=)$/.exec(headers['authorization'] ?? '') ?? []
    const signature = base64Bytes(text)
    if (signature?.length !== 32) throw new Problem('unauthorized', 'the signature is missing or malformed')
    const key = await hmacKeyOf(
      keys,
      (each) => base64Bytes(each) ?? new Uint8Array(32),
      signature,
      new Uint8Array(body),
    )
    return { key, signedAt: Date.parse(activityOf(body).timestamp) }
  },

  read({ body }): Interaction {
    const { id: activity, text, from, conversation, channelData } = activityOf(body)
    const channel = channelData.channel?.id ?? conversation.id.split(';')[0] ?? ''
    return {
      kind: 'command',
      id: activity,
      who: { team: channelData.tenant.id, channel, user: from.aadObjectId, name: from.name },
      text: plain(text),
      place: {},
    }
  },

  reply: (_said, message) => ({
    answer: { type: 'message', textFormat: 'plain', text: textOf(message, TEXT_CHARS_MAX) },
  }),

  hosts: () => [],
  show: () => undefined,
  shown: () => ({ hopeless: 'Teams takes nothing but the one answer' }),
}

function activityOf(body: Uint8Array): z.infer<typeof activitySchema> {
  return jsonOf(bodyText(body), activitySchema)
}

/** What was said to the bot, as plain text and without the bot's name. Teams marks the name up, and may send HTML. */
function plain(html: string): string {
  return html
    .replaceAll(/<at\b[^>]*>[^<]*<\/at>/g, ' ')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/&(?:nbsp|#160);/g, ' ')
    .trim()
}
