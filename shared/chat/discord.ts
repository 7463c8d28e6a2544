// Discord: a slash command with subcommands, and the buttons of our messages. Signed with Ed25519 over the time and the body.
// https://discord.com/developers/docs/interactions/receiving-and-responding

import { z } from 'zod'
import { hexBytes } from '../mac.ts'
import { Problem } from '../problems.ts'
import {
  fenced,
  type Button,
  type Call,
  type Interaction,
  type Message,
  type MessagePlace,
  type Platform,
} from './platform.ts'
import { TIMESTAMP, bodyText, concat, jsonOf } from './proof.ts'

const CONTENT_CHARS_MAX = 2000
/** An interaction's token is good for 15 minutes. The last half minute is not used. */
const TOKEN_MS_MAX = 14.5 * 60_000
/** The answer must have become a message before it can be edited. */
const FIRST_EDIT_MS = 1500

const API = 'https://discord.com/api/v10'
const EPHEMERAL = 64
const ED25519 = { name: 'Ed25519' }

const id = z.string().regex(/^[0-9]{15,20}$/)
const user = z.object({ id, username: z.string().max(100) })
const common = {
  id,
  application_id: id,
  token: z.string().regex(/^[\w.=-]{1,512}$/),
  guild_id: id.optional(),
  channel_id: id,
  member: z.object({ user }).optional(),
  user: user.optional(),
}
const option = z.object({ name: z.string(), value: z.union([z.string(), z.number(), z.boolean()]) })

const interactionSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal(1) }),
  z.object({
    type: z.literal(2),
    ...common,
    data: z.object({
      options: z.array(z.object({ name: z.string(), options: z.array(option).max(8).default([]) })).length(1),
    }),
  }),
  z.object({ type: z.literal(3), ...common, data: z.object({ custom_id: z.string().max(100) }) }),
])

export const discord: Platform = {
  name: 'Discord',
  headers: ['x-signature-ed25519', 'x-signature-timestamp'],
  body: 'json',
  keyName: 'publicKey',
  keyFault(key) {
    const bytes = hexBytes(key, 32)
    if (!bytes) return 'is not a public key as Discord shows it: 64 hex digits'
    // Some of these are points of small order, for which some verifiers accept any signature.
    return bytes.every((byte) => byte === bytes[0]) ? 'is one byte repeated' : undefined
  },
  needsToken: false,
  tokenFault: (token) => (/^[\w.-]{50,120}$/.test(token) ? undefined : 'is not the token of a bot'),
  hasServer: false,
  hasButtons: true,
  repeatsRefused: false,
  ids: { team: /^[0-9]{15,20}$/, channel: /^[0-9]{15,20}$/, user: /^[0-9]{15,20}$/ },
  firstShowMs: FIRST_EDIT_MS,

  async verify({ headers, body }, keys) {
    const timestamp = headers['x-signature-timestamp'] ?? ''
    const signature = hexBytes(headers['x-signature-ed25519'] ?? '', 64)
    // Nothing stands between time and body in what is signed. With a time of any length, digits could be moved from one to the other.
    if (!TIMESTAMP.test(timestamp) || !signature)
      throw new Problem('unauthorized', 'the signature or its time is missing or malformed')
    let fitting: string | undefined
    for (const text of keys) {
      const bytes = hexBytes(text, 32)
      if (!bytes) continue
      const key = await crypto.subtle.importKey('raw', bytes, ED25519, false, ['verify'])
      if (await crypto.subtle.verify(ED25519, key, signature, concat(timestamp, body))) fitting ??= text
    }
    if (fitting === undefined) throw new Problem('unauthorized', 'no signature matches')
    return { key: fitting, signedAt: Number(timestamp) * 1000 }
  },

  read({ body }): Interaction {
    const said = jsonOf(bodyText(body), interactionSchema)
    if (said.type === 1) return { kind: 'greeting', answer: { type: 1 } }
    const speaker = said.member?.user ?? said.user
    if (!speaker) throw new Problem('request-invalid', 'nobody said it')
    const who = { team: said.guild_id, channel: said.channel_id, user: speaker.id, name: speaker.username }
    const place: MessagePlace = { app: said.application_id, token: said.token, channel: said.channel_id }
    if (said.type === 3) return { kind: 'click', who, button: said.data.custom_id, place }
    const [command] = said.data.options
    const named = new Map(command?.options.map(({ name, value }) => [name, String(value)]))
    const words = [command?.name, named.get('stack'), named.get('tag')]
    const text = words.filter((word) => word !== undefined).join(' ')
    return { kind: 'command', id: said.id, who, text, place }
  },

  // The answer that begins a deploy is the deploy's message, which is edited from then on.
  reply: (_interaction, message, as) => ({
    answer: { type: 4, data: { ...contentOf(message), ...(as === 'private' ? { flags: EPHEMERAL } : {}) } },
  }),

  hosts: () => ['discord.com'],

  show(place, message, { token }, now) {
    const { app, token: own, channel, message: shown, askedAt = 0, isOver } = place
    if (now - Number(askedAt) < TOKEN_MS_MAX && isOver === undefined)
      return patch(`${API}/webhooks/${part(app)}/${part(own)}/messages/@original`, message)
    // After that only a bot may edit it, and needs the message's id.
    if (token === undefined || shown === undefined) return undefined
    return patch(`${API}/channels/${part(channel)}/messages/${part(shown)}`, message, token)
  },

  shown(place, { status, body }) {
    const { id: shown } = (typeof body === 'object' && body !== null ? body : {}) as { id?: unknown }
    if (status === 200 && typeof shown === 'string')
      return { place: { ...place, message: shown }, isShown: true }
    // Discord has not made a message of the answer yet.
    if (status === 404 && place['message'] === undefined) return { again: true }
    if ((status === 401 || status === 404) && place['isOver'] === undefined)
      return { place: { ...place, isOver: 1 }, isShown: false }
    return { hopeless: `Discord answered ${status}` }
  },
}

// No mention is allowed, so nobody is notified whatever the text says.
function contentOf(message: Message): object {
  const { buttons } = message
  return {
    content: fenced(message, CONTENT_CHARS_MAX),
    allowed_mentions: { parse: [] },
    components: buttons.length === 0 ? [] : [{ type: 1, components: buttons.map(buttonOf) }],
  }
}

function buttonOf({ label, value, isDangerous = false }: Button): object {
  return { type: 2, style: isDangerous ? 4 : 2, label, custom_id: value }
}

function patch(url: string, message: Message, token?: string): Call {
  const authorization = token === undefined ? {} : { authorization: `Bot ${token}` }
  return {
    method: 'PATCH',
    url,
    headers: { 'content-type': 'application/json', ...authorization },
    body: contentOf(message),
  }
}

const part = (value: string | number | undefined) => encodeURIComponent(String(value))
