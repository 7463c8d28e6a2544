// Mattermost, on a server of one's own: a slash command, whose token goes along in a header, and the buttons of our messages. Only a MAC over
// the button proves a click: we give it to the server, which sends it back with the click.
// https://developers.mattermost.com/integrate/slash-commands/custom/

import { z } from 'zod'
import { hexBytes, hmacKeyOf, utf8 } from '../mac.ts'
import { Problem } from '../problems.ts'
import {
  fenced,
  type Account,
  type Button,
  type Call,
  type Interaction,
  type Message,
  type MessagePlace,
  type Platform,
} from './platform.ts'
import { bodyText, formOf, hmacHex, jsonOf, sameKeyOf } from './proof.ts'

/** What older servers take. Today's take four times as much. */
const MESSAGE_CHARS_MAX = 4000
/** As with Slack. */
const RESPONSE_URL_MS_MAX = 30 * 60_000
const RESPONSE_URL_USES_MAX = 5

const id = z.string().regex(/^[a-z0-9]{26}$/)
const commandSchema = z.object({
  team_id: id,
  channel_id: id,
  user_id: id,
  user_name: z.string().max(200).default(''),
  text: z.string().default(''),
  trigger_id: z.string().min(1).max(1000),
  response_url: z.string().optional(),
})
const clickSchema = z.object({
  team_id: id,
  channel_id: id,
  user_id: id,
  user_name: z.string().max(200).default(''),
  context: z.object({ button: z.string().max(64), proof: z.string() }),
})

export const mattermost: Platform = {
  name: 'Mattermost',
  headers: ['authorization'],
  body: 'both',
  keyName: 'secret',
  keyFault: (key) =>
    /^[a-z0-9]{26}$/.test(key) ? undefined : 'is not the token of a slash command as Mattermost shows it',
  needsToken: false,
  tokenFault: (token) => (/^[a-z0-9]{26}$/.test(token) ? undefined : 'is not the access token of a bot'),
  hasServer: true,
  hasButtons: true,
  repeatsRefused: false,
  ids: { team: /^[a-z0-9]{26}$/, channel: /^[a-z0-9]{26}$/, user: /^[a-z0-9]{26}$/ },
  firstShowMs: 0,

  async verify({ headers, body }, keys) {
    const { authorization } = headers
    if (authorization === undefined && isJson(body)) {
      const { button, mac } = proofOf(body)
      return { key: await hmacKeyOf(keys, utf8, mac, utf8(signedOf(button))), signedAt: undefined }
    }
    const [, token = ''] = /^Token ([a-z0-9]{26})$/.exec(authorization ?? '') ?? []
    return { key: await sameKeyOf(keys, token), signedAt: undefined }
  },

  read({ body }): Interaction {
    if (isJson(body)) {
      const { team_id, channel_id, user_id, user_name, context } = jsonOf(bodyText(body), clickSchema)
      const who = { team: team_id, channel: channel_id, user: user_id, name: user_name }
      return { kind: 'click', who, button: context.button, place: { channel: channel_id } }
    }
    const said = commandSchema.safeParse(Object.fromEntries(formOf(body)))
    if (!said.success) throw new Problem('request-invalid', 'it is not a slash command')
    const { team_id, channel_id, user_id, user_name, text, trigger_id, response_url: url } = said.data
    return {
      kind: 'command',
      id: trigger_id,
      who: { team: team_id, channel: channel_id, user: user_id, name: user_name },
      text,
      place: { channel: channel_id, ...(url === undefined ? {} : { url }) },
    }
  },

  reply(interaction, message) {
    const text = fenced(message, MESSAGE_CHARS_MAX)
    return {
      answer: interaction.kind === 'click' ? { ephemeral_text: text } : { response_type: 'ephemeral', text },
    }
  },

  hosts: ({ server }) => (server === undefined ? [] : [new URL(server).host]),

  async show(place, message, account, now) {
    const { channel, post, url, askedAt = 0, uses = 0 } = place
    const { token, server } = account
    if (token !== undefined && place['bot'] !== 'refused') {
      const content = await contentOf(place, message, account)
      const body = post === undefined ? { channel_id: channel, ...content } : content
      const path = post === undefined ? 'posts' : `posts/${encodeURIComponent(String(post))}/patch`
      return call(post === undefined ? 'POST' : 'PUT', `${server}/api/v4/${path}`, body, token)
    }
    const isGood = now - Number(askedAt) < RESPONSE_URL_MS_MAX && Number(uses) < RESPONSE_URL_USES_MAX
    // These cannot be edited, as with Slack, so there are two at most.
    if (typeof url !== 'string' || !isGood || !(message.isFinal || uses === 0)) return undefined
    return call('POST', url, { response_type: 'in_channel', text: fenced(message, MESSAGE_CHARS_MAX) })
  },

  shown(place, { status, body }) {
    const { id: post } = (typeof body === 'object' && body !== null ? body : {}) as { id?: unknown }
    if ((status === 200 || status === 201) && typeof post === 'string')
      return { place: { ...place, post }, isShown: true }
    if (status === 200) return { place: { ...place, uses: Number(place['uses'] ?? 0) + 1 }, isShown: true }
    const mayBeElsewhere =
      place['post'] === undefined && place['url'] !== undefined && place['bot'] !== 'refused'
    if (mayBeElsewhere) return { place: { ...place, bot: 'refused' }, isShown: false }
    return { hopeless: `Mattermost answered ${status}` }
  },
}

// A JSON object begins with a brace, a form with the name of a field.
function isJson(body: Uint8Array): boolean {
  return body[0] === 0x7b
}

// The sender is not verified yet, so every fault is `unauthorized` and tells them nothing.
function proofOf(body: Uint8Array): { button: string; mac: Uint8Array<ArrayBuffer> } {
  try {
    const { button, proof } = jsonOf(bodyText(body), clickSchema).context
    const mac = hexBytes(proof, 32)
    if (mac) return { button, mac }
  } catch (cause) {
    throw new Problem('unauthorized', 'it is no click on a button of ours', { cause })
  }
  throw new Problem('unauthorized', 'the proof of the button is malformed')
}

/** What is signed for a button. The words before it keep the signature from counting for anything else. */
const signedOf = (button: string) => `ropeway button ${button}`

async function contentOf(place: MessagePlace, message: Message, { keys }: Account): Promise<object> {
  const actions = await Promise.all(message.buttons.map((button) => buttonOf(place, button, keys[0] ?? '')))
  return {
    message: fenced(message, MESSAGE_CHARS_MAX),
    props: {
      disable_group_highlight: true,
      attachments: actions.length === 0 ? [] : [{ text: '', actions }],
    },
  }
}

// The server does not show `integration`. Whoever sees the message sees the name alone.
async function buttonOf(
  { hook }: MessagePlace,
  { label, value, isDangerous }: Button,
  key: string,
): Promise<object> {
  return {
    id: value.replaceAll('-', ''),
    name: label,
    style: isDangerous === true ? 'danger' : 'default',
    integration: { url: hook, context: { button: value, proof: await hmacHex(key, signedOf(value)) } },
  }
}

function call(method: Call['method'], url: string, body: object, token?: string): Call {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return { method, url, headers: { 'content-type': 'application/json', ...authorization }, body }
}
