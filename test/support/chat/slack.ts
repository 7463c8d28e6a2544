// A stand-in for Slack: signs what it sends as Slack does, and answers our calls with Slack's own limits.

import { createHmac } from 'node:crypto'
import { ask, type Answer } from '../relay.ts'

export const SECRET = '8f742231b10e8888abcd99yyyzzz85a5'
export const TOKEN = 'xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy'
export const TEAM = 'T1DC2JH3J'
export const CHANNEL = 'G8PSS9T3V'
/** May deploy; the other may only look. */
export const ANNA = 'U2CERLKJA'
export const MALLORY = 'U0MALLORY'

const USES_MAX = 5

export interface SlackMessage {
  readonly channel: string
  readonly ts: string
  /** What it said, first and after each edit. */
  readonly texts: string[]
  readonly buttons: { label: string; value: string }[]
}

export class SlackStandIn {
  /** Messages of the bot. */
  readonly messages: SlackMessage[] = []
  /** What came by response_urls, by address. */
  readonly responses = new Map<string, Record<string, unknown>[]>()
  /** Every call, and whatever was wrong with one. */
  readonly calls: string[] = []
  readonly faults: string[] = []
  /** Answers the next calls instead. */
  readonly next: (() => Response)[] = []
  /** Channels where the bot is not. */
  readonly closed = new Set<string>()
  #count = 0

  responseUrl(): string {
    const url = `https://hooks.slack.com/commands/${TEAM}/${++this.#count}/96rGlfmibIGlgcZRskXaIFfN`
    this.responses.set(url, [])
    return url
  }

  readonly outbound = async (request: Request): Promise<Response> => {
    const { host, pathname } = new URL(request.url)
    this.calls.push(`${request.method} ${host}${pathname}`)
    const instead = this.next.shift()
    if (instead) return instead()
    const body = (await request.json()) as Record<string, unknown>
    if (request.method !== 'POST' || !request.headers.get('content-type')?.startsWith('application/json'))
      return this.#fault('not a POST of JSON', 400)
    const fault = faultOf(body)
    if (fault !== undefined) return this.#fault(fault, 200)
    if (host === 'hooks.slack.com') return this.#respond(request.url, body)
    if (host !== 'slack.com') return this.#fault(`a call to ${host}`, 404)
    if (request.headers.get('authorization') !== `Bearer ${TOKEN}`) return failed('invalid_auth')
    if (pathname === '/api/chat.postMessage') return this.#post(body)
    if (pathname === '/api/chat.update') return this.#update(body)
    return failed('unknown_method')
  }

  #respond(url: string, body: Record<string, unknown>): Response {
    const uses = this.responses.get(url)
    if (!uses) return new Response('{"ok":false,"error":"expired_url"}', { status: 404 })
    if (uses.length >= USES_MAX) return new Response('{"ok":false,"error":"used_url"}', { status: 404 })
    uses.push(body)
    return new Response('ok')
  }

  #post(body: Record<string, unknown>): Response {
    const channel = String(body['channel'])
    if (this.closed.has(channel)) return failed('not_in_channel')
    const ts = `${1503435956 + this.messages.length}.000247`
    this.messages.push({ channel, ts, texts: [textOf(body)], buttons: buttonsOf(body) })
    return Response.json({ ok: true, channel, ts, message: {} })
  }

  #update(body: Record<string, unknown>): Response {
    const found = this.messages.find(({ channel, ts }) => channel === body['channel'] && ts === body['ts'])
    if (!found) return failed('message_not_found')
    found.texts.push(textOf(body))
    found.buttons.splice(0, Infinity, ...buttonsOf(body))
    return Response.json({ ok: true, channel: found.channel, ts: found.ts, text: '' })
  }

  #fault(fault: string, status: number): Response {
    this.faults.push(fault)
    return Response.json({ ok: false, error: 'invalid_arguments' }, { status })
  }
}

function failed(error: string): Response {
  return Response.json({ ok: false, error })
}

/** Whatever JSON it is: the platform's own shapes are what is checked here. */
type Json = ReturnType<typeof JSON.parse>

// Of Block Kit's limits those that we could meet.
function faultOf(body: Record<string, unknown>): string | undefined {
  const blocks = (body['blocks'] ?? []) as Json[]
  if (typeof body['text'] !== 'string' || body['text'] === '') return 'no text'
  if (/<[!@#]/.test(body['text'])) return 'a mention in the text'
  for (const block of blocks) {
    if (block['type'] === 'section') {
      const { type, text } = block['text']
      if (type !== 'plain_text' || text.length < 1 || text.length > 3000) return 'a bad section'
    } else if (block['type'] === 'actions') {
      const { elements } = block as { elements: Json[] }
      if (elements.length < 1 || elements.length > 25) return 'a bad number of buttons'
      const ids = new Set(elements.map(({ action_id }) => action_id))
      if (ids.size !== elements.length) return 'two buttons of one action_id'
      if (elements.some(({ value, text }) => value.length > 2000 || text.text.length > 75))
        return 'a bad button'
    } else return `a block of type ${String(block['type'])}`
  }
  return undefined
}

function textOf(body: Record<string, unknown>): string {
  const [section] = body['blocks'] as { text: { text: string } }[]
  return section!.text.text
}

function buttonsOf(body: Record<string, unknown>): { label: string; value: string }[] {
  const actions = (body['blocks'] as Json[]).find(({ type }) => type === 'actions')
  return (actions?.elements ?? []).map(({ text, value }: Json) => ({ label: text.text, value }))
}

/** What Slack sends for a form, signed. */
export function signed(
  form: Record<string, string> | string,
  { secret = SECRET, at = Math.floor(Date.now() / 1000) }: { secret?: string; at?: number | string } = {},
): { headers: Record<string, string>; body: string } {
  const body = typeof form === 'string' ? form : String(new URLSearchParams(form))
  const mac = createHmac('sha256', secret).update(`v0:${at}:${body}`).digest('hex')
  return {
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-slack-request-timestamp': String(at),
      'x-slack-signature': `v0=${mac}`,
    },
    body,
  }
}

let triggers = 0

/** A slash command's fields. */
export function command(text: string, over: Record<string, string> = {}): Record<string, string> {
  return {
    token: 'xyzz0WbapA4vBCDEFasx0q6G',
    team_id: TEAM,
    team_domain: 'testteamnow',
    channel_id: CHANNEL,
    channel_name: 'foobar',
    user_id: ANNA,
    user_name: 'roadrunner',
    command: '/ropeway',
    text,
    api_app_id: 'A123456',
    is_enterprise_install: 'false',
    trigger_id: `398738663015.${++triggers}.803a0bc887a14d10d2c447fce8b6703c`,
    ...over,
  }
}

/** A click on a button of ours. */
export function click(
  value: string,
  over: { user?: string; url?: string; channel?: string } = {},
): Record<string, string> {
  return {
    payload: JSON.stringify({
      type: 'block_actions',
      team: { id: TEAM, domain: 'testteamnow' },
      user: { id: over.user ?? ANNA, username: 'roadrunner', name: 'roadrunner', team_id: TEAM },
      api_app_id: 'A123456',
      token: 'xyzz0WbapA4vBCDEFasx0q6G',
      container: { type: 'message', message_ts: '1503435956.000247', channel_id: CHANNEL },
      trigger_id: `12466734323.${++triggers}.1395872398`,
      channel: { id: over.channel ?? CHANNEL, name: 'foobar' },
      message: { type: 'message', ts: '1503435956.000247', text: '' },
      ...(over.url === undefined ? {} : { response_url: over.url }),
      actions: [{ action_id: 'ropeway-0', block_id: 'b', type: 'button', value, action_ts: '1503435957.1' }],
    }),
  }
}

export function send(
  url: string,
  request: { headers: Record<string, string>; body: string },
): Promise<Answer> {
  return ask(url, { method: 'POST', headers: request.headers, body: request.body })
}
