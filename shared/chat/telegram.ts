// Telegram: commands to a bot, and the buttons of its messages. It signs nothing. A header has the secret that the webhook was made with.
// https://core.telegram.org/bots/api#setwebhook

import { z } from 'zod'
import { Problem } from '../problems.ts'
import {
  textOf,
  type Call,
  type Interaction,
  type Message,
  type MessagePlace,
  type Platform,
} from './platform.ts'
import { bodyText, sameKeyOf } from './proof.ts'

const TEXT_CHARS_MAX = 4096
/** What pops up when a button was clicked. */
const POPUP_CHARS_MAX = 200

const NOTHING: Interaction = { kind: 'greeting', answer: undefined }

const id = z.int().transform(String)
const user = z.object({ id, is_bot: z.boolean(), username: z.string().max(64).default('') })
const messageSchema = z.object({
  message_id: z.int(),
  date: z.int().positive(),
  from: user,
  chat: z.object({ id }),
  text: z.string(),
})
const updateSchema = z.union([
  z.object({ update_id: z.int(), message: messageSchema }),
  z.object({
    update_id: z.int(),
    callback_query: z.object({
      id: z.string().max(128),
      from: user,
      message: z.object({ message_id: z.int(), chat: z.object({ id }) }),
      data: z.string().max(64),
    }),
  }),
])

export const telegram: Platform = {
  name: 'Telegram',
  headers: ['x-telegram-bot-api-secret-token'],
  body: 'json',
  keyName: 'secret',
  keyFault: (key) =>
    /^[A-Za-z0-9_-]{24,256}$/.test(key)
      ? undefined
      : 'is not 24 to 256 letters, digits, - and _, as `openssl rand -hex 24` makes them',
  needsToken: true,
  tokenFault: (token) =>
    /^[0-9]{6,12}:[A-Za-z0-9_-]{30,50}$/.test(token) ? undefined : 'is not the token of a bot',
  hasServer: false,
  hasButtons: true,
  repeatsRefused: true,
  ids: { team: undefined, channel: /^-?[0-9]{1,20}$/, user: /^[0-9]{1,20}$/ },
  firstShowMs: 0,

  async verify({ headers, body }, keys) {
    const key = await sameKeyOf(keys, headers['x-telegram-bot-api-secret-token'] ?? '')
    const update = updateOf(body)
    return { key, signedAt: update && 'message' in update ? update.message.date * 1000 : undefined }
  },

  // Telegram repeats what is refused, and holds back all else until then. So what is not for us is accepted, and nothing is done.
  read({ body }): Interaction {
    const update = updateOf(body)
    if (!update) return NOTHING
    if ('callback_query' in update) {
      const { id: query, from, message, data } = update.callback_query
      const who = { team: undefined, channel: message.chat.id, user: from.id, name: from.username }
      return { kind: 'click', who, button: data, place: { chat: message.chat.id, query } }
    }
    const { from, chat, text, message_id } = update.message
    const command = /^\/(\S+)\s*([^]*)$/.exec(text)
    if (from.is_bot || !command) return NOTHING
    const [verb = ''] = (command[1] ?? '').split('@')
    return {
      kind: 'command',
      id: String(update.update_id),
      who: { team: undefined, channel: chat.id, user: from.id, name: from.username },
      text: `${verb === 'start' ? 'help' : verb} ${command[2]}`,
      place: { chat: chat.id, to: message_id },
    }
  },

  reply(interaction, message, as) {
    if (interaction.kind === 'click') {
      const text = textOf(message, POPUP_CHARS_MAX)
      return {
        answer: {
          method: 'answerCallbackQuery',
          callback_query_id: interaction.place['query'],
          text,
          show_alert: true,
        },
      }
    }
    // The message that begins a deploy is sent by a call right after, since the answer to that call has the id to edit it by.
    if (interaction.kind !== 'command' || as === 'start') return { answer: undefined }
    return {
      answer: {
        method: 'sendMessage',
        ...contentOf(interaction.place, message),
        ...answering(interaction.place),
      },
    }
  },

  hosts: () => ['api.telegram.org'],

  show(place, message, { token }) {
    const { message: shown } = place
    if (shown === undefined)
      return call(token, 'sendMessage', { ...contentOf(place, message), ...answering(place) })
    return call(token, 'editMessageText', { ...contentOf(place, message), message_id: shown })
  },

  shown(place, { status, body }) {
    const { ok, result, description } = (typeof body === 'object' && body !== null ? body : {}) as Record<
      string,
      unknown
    >
    if (ok === true) {
      const { message_id: shown } = (typeof result === 'object' && result !== null ? result : {}) as {
        message_id?: unknown
      }
      return { place: typeof shown === 'number' ? { ...place, message: shown } : place, isShown: true }
    }
    // The message has this text already.
    if (status === 400 && /message is not modified/.test(String(description))) return { place, isShown: true }
    return { hopeless: `Telegram answered ${status}` }
  },
}

function updateOf(body: Uint8Array): z.infer<typeof updateSchema> | undefined {
  try {
    return updateSchema.safeParse(JSON.parse(bodyText(body))).data
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof Problem) return undefined
    throw error
  }
}

/** Telegram makes no links and no mentions in `pre`. */
function contentOf({ chat }: MessagePlace, message: Message): object {
  const text = textOf(message, TEXT_CHARS_MAX)
  const keys = message.buttons.map(({ label, value }) => ({ text: label, callback_data: value }))
  return {
    chat_id: chat,
    text,
    entities: [{ type: 'pre', offset: 0, length: text.length }],
    link_preview_options: { is_disabled: true },
    reply_markup: { inline_keyboard: keys.length === 0 ? [] : [keys] },
  }
}

function answering({ to }: MessagePlace): object {
  return to === undefined ? {} : { reply_parameters: { message_id: to, allow_sending_without_reply: true } }
}

function call(token: string | undefined, method: string, body: object): Call {
  return {
    method: 'POST',
    url: `https://api.telegram.org/bot${token}/${method}`,
    headers: { 'content-type': 'application/json' },
    body,
  }
}
