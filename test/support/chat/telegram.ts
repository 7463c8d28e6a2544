// A stand-in for Telegram: sends updates as Telegram does, and answers our calls with its own limits.

import { ask, type Answer } from '../relay.ts'

export const SECRET = 'a-secret-that-telegram-sends-along'
export const TOKEN = '110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw'
export const CHAT = -1001234567890
export const ANNA = 1111117
export const MALLORY = 2222222

type Json = ReturnType<typeof JSON.parse>

export interface TelegramMessage {
  readonly message_id: number
  readonly texts: string[]
  buttons: { text: string; callback_data: string }[]
}

export class TelegramStandIn {
  readonly messages: TelegramMessage[] = []
  readonly faults: string[] = []
  readonly next: (() => Response)[] = []

  readonly outbound = async (request: Request): Promise<Response> => {
    const { host, pathname } = new URL(request.url)
    const body: Json = await request.json()
    const instead = this.next.shift()
    if (instead) return instead()
    const fault = host === 'api.telegram.org' ? faultOf(body) : `a call to ${host}`
    if (fault !== undefined) return this.#fault(fault)
    const buttons = (body.reply_markup.inline_keyboard as Json[][]).flat()
    if (pathname === `/bot${TOKEN}/sendMessage`) {
      const message_id = 365 + this.messages.length
      this.messages.push({ message_id, texts: [body.text], buttons })
      return Response.json({ ok: true, result: { message_id, chat: { id: CHAT } } })
    }
    const found = this.messages.find(({ message_id }) => message_id === body.message_id)
    if (pathname !== `/bot${TOKEN}/editMessageText` || !found) return this.#fault(`no such call: ${pathname}`)
    if (found.texts.at(-1) === body.text && JSON.stringify(found.buttons) === JSON.stringify(buttons))
      return Response.json(
        { ok: false, error_code: 400, description: 'Bad Request: message is not modified' },
        { status: 400 },
      )
    found.texts.push(body.text)
    found.buttons = buttons
    return Response.json({ ok: true, result: { message_id: found.message_id } })
  }

  #fault(fault: string): Response {
    this.faults.push(fault)
    return Response.json({ ok: false, error_code: 400, description: 'Bad Request' }, { status: 400 })
  }
}

export function faultOf({ chat_id, text, entities, reply_markup, parse_mode }: Json): string | undefined {
  if (String(chat_id) !== String(CHAT)) return `a message to ${chat_id}`
  if (typeof text !== 'string' || text.length < 1 || text.length > 4096) return 'a bad text'
  if (parse_mode !== undefined) return 'a text that is parsed'
  if (JSON.stringify(entities) !== JSON.stringify([{ type: 'pre', offset: 0, length: text.length }]))
    return 'a text that may link and mention'
  for (const { callback_data } of reply_markup.inline_keyboard.flat())
    if (Buffer.byteLength(callback_data) < 1 || Buffer.byteLength(callback_data) > 64) return 'a bad button'
  return undefined
}

let updates = 73_000_000

const now = () => Math.floor(Date.now() / 1000)
const user = (id: number) => ({ id, is_bot: false, first_name: 'Anna', username: 'anna' })

export function command(text: string, from = ANNA, over: Json = {}): Json {
  const chat = { id: CHAT, type: 'supergroup', title: 'Deploys' }
  const message = { message_id: ++updates, date: now(), from: user(from), chat, text, ...over }
  return { update_id: ++updates, message }
}

export function click(data: string, from = ANNA): Json {
  const message = { message_id: 365, date: now(), chat: { id: CHAT, type: 'supergroup' }, text: '' }
  const callback_query = { id: String(++updates), from: user(from), message, chat_instance: '1', data }
  return { update_id: ++updates, callback_query }
}

export function send(url: string, update: Json, secret: string | undefined = SECRET): Promise<Answer> {
  return ask(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(secret === undefined ? {} : { 'x-telegram-bot-api-secret-token': secret }),
    },
    body: typeof update === 'string' ? update : JSON.stringify(update),
  })
}
