// Slack: a slash command, and the buttons of our messages. Signed with HMAC-SHA256 over `v0:time:body`.
// https://docs.slack.dev/authentication/verifying-requests-from-slack

import { z } from 'zod'
import { hexBytes, hmacKeyOf, utf8 } from '../mac.ts'
import { Problem } from '../problems.ts'
import {
  textOf,
  type Button,
  type Call,
  type Interaction,
  type Message,
  type MessagePlace,
  type Platform,
} from './platform.ts'
import { TIMESTAMP, concat, formOf, jsonOf } from './proof.ts'

/** A text object holds no more. https://docs.slack.dev/reference/block-kit/composition-objects/text-object */
const TEXT_CHARS_MAX = 3000
/** How long, and how often, a response_url may be used. https://docs.slack.dev/interactivity/handling-user-interaction */
const RESPONSE_URL_MS_MAX = 30 * 60_000
const RESPONSE_URL_USES_MAX = 5

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
const id = z.string().regex(/^[A-Z0-9]{2,32}$/)

const payloadSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('block_actions'),
    team: z.object({ id }),
    // In a shared channel somebody may be from another workspace. Then this is theirs.
    user: z.object({ id, username: z.string().optional(), team_id: id.optional() }),
    channel: z.object({ id }),
    response_url: z.string().optional(),
    actions: z.array(z.object({ value: z.string().max(255) })).length(1),
  }),
  // An app may be sent these as well. They have nothing to do with us.
  z.object({ type: z.enum(['view_submission', 'view_closed', 'shortcut', 'message_action']) }),
])
const commandSchema = z.object({
  team_id: id,
  channel_id: id,
  user_id: id,
  user_name: z.string().max(200).default(''),
  text: z.string(),
  trigger_id: z.string().min(1).max(200),
  response_url: z.string().optional(),
})

export const slack: Platform = {
  name: 'Slack',
  headers: ['x-slack-signature', 'x-slack-request-timestamp'],
  body: 'form',
  keyName: 'secret',
  // The text that Slack shows is itself the key. It looks like hex, but is not decoded.
  keyFault: (key) =>
    /^[A-Za-z0-9]{32,64}$/.test(key) ? undefined : 'is not a signing secret as Slack shows it',
  needsToken: false,
  tokenFault: (token) =>
    /^xoxb-[A-Za-z0-9-]{10,200}$/.test(token) ? undefined : 'is not a bot token (xoxb-…)',
  hasServer: false,
  hasButtons: true,
  repeatsRefused: false,
  ids: { team: /^T[A-Z0-9]{2,31}$/, channel: /^[CDG][A-Z0-9]{2,31}$/, user: /^[UW][A-Z0-9]{2,31}$/ },
  firstShowMs: 0,

  async verify({ headers, body }, keys) {
    const timestamp = headers['x-slack-request-timestamp'] ?? ''
    const [, hex = ''] = /^v0=([0-9a-f]{64})$/.exec(headers['x-slack-signature'] ?? '') ?? []
    const signature = hexBytes(hex, 32)
    if (!TIMESTAMP.test(timestamp) || !signature)
      throw new Problem('unauthorized', 'the signature or its time is missing or malformed')
    const key = await hmacKeyOf(keys, utf8, signature, concat(`v0:${timestamp}:`, body))
    return { key, signedAt: Number(timestamp) * 1000 }
  },

  read({ body }): Interaction {
    const form = formOf(body)
    // Slack asks this to see whether the address answers.
    if (form.get('ssl_check') === '1') return { kind: 'greeting', answer: undefined }
    const payload = form.get('payload')
    if (payload !== undefined) return readPayload(payload)
    const said = commandSchema.safeParse(Object.fromEntries(form))
    if (!said.success) throw new Problem('request-invalid', 'it is not a slash command')
    const { team_id, channel_id, user_id, user_name, text, trigger_id, response_url } = said.data
    return {
      kind: 'command',
      id: trigger_id,
      who: { team: team_id, channel: channel_id, user: user_id, name: user_name },
      text,
      place: placeOf(channel_id, response_url),
    }
  },

  // The answer is for the one who asked alone. What all shall see is a message of its own, which can be edited.
  reply(interaction, message) {
    const body = { response_type: 'ephemeral', ...contentOf(message) }
    if (interaction.kind !== 'click') return { answer: body }
    // Slack shows no answer to a click. The words are posted to the click's own address.
    const url = interaction.place['url']
    return {
      answer: undefined,
      ...(typeof url === 'string' ? { call: post(url, { ...body, replace_original: false }) } : {}),
    }
  },

  hosts: () => ['slack.com', 'hooks.slack.com'],

  show(place, message, { token }, now) {
    const { channel, ts, url, askedAt = 0, uses = 0 } = place
    if (token !== undefined && place['bot'] !== 'refused') {
      const method = ts === undefined ? 'chat.postMessage' : 'chat.update'
      const where = ts === undefined ? { channel } : { channel, ts }
      return post(`https://slack.com/api/${method}`, { ...where, ...contentOf(message) }, token)
    }
    // These messages cannot be edited. So there are two at most, at the beginning and at the end.
    const mayShow = message.isFinal || uses === 0
    const isGood = now - Number(askedAt) < RESPONSE_URL_MS_MAX && Number(uses) < RESPONSE_URL_USES_MAX
    if (typeof url !== 'string' || !isGood || !mayShow) return undefined
    return post(url, { response_type: 'in_channel', ...contentOf(message) })
  },

  shown(place, { status, body }) {
    const isBot = place['bot'] !== 'refused' && typeof body === 'object' && body !== null && 'ok' in body
    if (!isBot)
      return status === 200
        ? { place: { ...place, uses: Number(place['uses'] ?? 0) + 1 }, isShown: true }
        : { hopeless: `Slack answered ${status}` }
    const { ok, ts, channel, error } = body as {
      ok?: unknown
      ts?: unknown
      channel?: unknown
      error?: unknown
    }
    if (ok === true && typeof ts === 'string' && typeof channel === 'string')
      return { place: { ...place, ts, channel }, isShown: true }
    // The bot may not speak there. The address that came with the command still works.
    if (place['ts'] === undefined && place['url'] !== undefined)
      return { place: { ...place, bot: 'refused' }, isShown: false }
    return { hopeless: `Slack refused: ${String(error).slice(0, 60)}` }
  },
}

function readPayload(text: string): Interaction {
  const payload = jsonOf(text, payloadSchema)
  if (payload.type !== 'block_actions') return { kind: 'greeting', answer: undefined }
  const { team, user, channel, response_url, actions } = payload
  return {
    kind: 'click',
    who: { team: user.team_id ?? team.id, channel: channel.id, user: user.id, name: user.username ?? '' },
    button: actions[0]?.value ?? '',
    place: placeOf(channel.id, response_url),
  }
}

function placeOf(channel: string, url: string | undefined): MessagePlace {
  return url === undefined ? { channel } : { channel, url }
}

/** `plain_text` has no formatting, links or mentions. `text`, which notifications show, has them, so it is escaped. */
function contentOf(message: Message): object {
  const text = textOf(message, TEXT_CHARS_MAX)
  const { buttons } = message
  return {
    text: escape(text),
    mrkdwn: false,
    parse: 'none',
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: 'section', text: { type: 'plain_text', text, emoji: false } },
      ...(buttons.length === 0 ? [] : [{ type: 'actions', elements: buttons.map(buttonOf) }]),
    ],
  }
}

function buttonOf({ label, value, isDangerous = false }: Button, index: number): object {
  return {
    type: 'button',
    text: { type: 'plain_text', text: label },
    action_id: `ropeway-${index}`,
    value,
    ...(isDangerous ? { style: 'danger' } : {}),
  }
}

// https://docs.slack.dev/messaging/formatting-message-text#escaping
function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function post(url: string, body: object, token?: string): Call {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return { method: 'POST', url, headers: { ...JSON_TYPE, ...authorization }, body }
}
