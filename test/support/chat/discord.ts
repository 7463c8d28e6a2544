// A stand-in for Discord: signs what it sends as Discord does, and answers our calls with Discord's own limits.

import { createPrivateKey, sign } from 'node:crypto'
import { ask, type Answer } from '../relay.ts'

/** The pair of RFC 8032's first test. */
const SEED = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'
export const PUBLIC_KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
const PRIVATE_KEY = createPrivateKey({
  key: Buffer.from(`302e020100300506032b657004220420${SEED}`, 'hex'),
  format: 'der',
  type: 'pkcs8',
})

export const TOKEN = 'MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs'
export const GUILD = '290926798626357999'
export const CHANNEL = '645027906669510667'
export const APP = '775799577604522054'
export const ANNA = '53908232506183680'
export const MALLORY = '80351110224678912'

type Json = ReturnType<typeof JSON.parse>

export interface DiscordMessage {
  readonly id: string
  readonly channel: string
  readonly contents: string[]
  components: Json[]
  readonly flags: number
}

export class DiscordStandIn {
  /** By the token of the interaction that they answer. */
  readonly messages = new Map<string, DiscordMessage>()
  readonly calls: string[] = []
  readonly faults: string[] = []
  /** Tokens whose 15 minutes are over. */
  readonly expired = new Set<string>()
  #count = 0

  /** Posts an interaction; an answer of type 4 becomes a message, as Discord makes it. */
  async post(url: string, interaction: Json, request = signed(interaction)): Promise<Answer> {
    const answer = await ask(url, { method: 'POST', headers: request.headers, body: request.body })
    if (answer.status !== 200) return answer
    if (!answer.headers.get('content-type')?.startsWith('application/json')) this.faults.push('no JSON')
    if (answer.body.type === 4) {
      const fault = faultOf(answer.body.data)
      if (fault !== undefined) this.faults.push(fault)
      const { content, components, flags = 0 } = answer.body.data
      const id = String(1_000_000_000_000_000_000n + BigInt(++this.#count))
      const channel = interaction.channel_id
      this.messages.set(interaction.token, { id, channel, contents: [content], components, flags })
    }
    return answer
  }

  readonly outbound = async (request: Request): Promise<Response> => {
    const { host, pathname } = new URL(request.url)
    this.calls.push(`${request.method} ${host}${pathname}`)
    const body: Json = await request.json()
    const fault = host === 'discord.com' ? faultOf(body) : `a call to ${host}`
    if (fault !== undefined || request.method !== 'PATCH') {
      this.faults.push(fault ?? request.method)
      return Response.json({ code: 50035, message: 'Invalid Form Body' }, { status: 400 })
    }
    const [, token = ''] = /^\/api\/v10\/webhooks\/\d+\/([^/]+)\/messages\/@original$/.exec(pathname) ?? []
    if (token !== '') {
      if (this.expired.has(token))
        return Response.json({ code: 50027, message: 'Invalid Webhook Token' }, { status: 401 })
      return edited(this.messages.get(token), body)
    }
    const [, channel, id] = /^\/api\/v10\/channels\/(\d+)\/messages\/(\d+)$/.exec(pathname) ?? []
    if (request.headers.get('authorization') !== `Bot ${TOKEN}`)
      return Response.json({ code: 0, message: '401: Unauthorized' }, { status: 401 })
    return edited(
      [...this.messages.values()].find((each) => each.id === id && each.channel === channel),
      body,
    )
  }
}

function edited(message: DiscordMessage | undefined, { content, components }: Json): Response {
  if (!message) return Response.json({ code: 10008, message: 'Unknown Message' }, { status: 404 })
  message.contents.push(content)
  message.components = components
  return Response.json({ id: message.id, channel_id: message.channel, content })
}

function faultOf({ content, components, allowed_mentions }: Json): string | undefined {
  if (typeof content !== 'string' || content.length < 1 || content.length > 2000) return 'a bad content'
  if (JSON.stringify(allowed_mentions) !== '{"parse":[]}') return 'mentions are on'
  if (!/^```text\n[^]*\n```$/.test(content) || content.slice(8, -4).includes('```'))
    return 'an open code block'
  if (components.length > 5) return 'too many rows'
  for (const row of components)
    for (const { custom_id, label } of row.components)
      if (custom_id.length < 1 || custom_id.length > 100 || label.length > 80) return 'a bad button'
  return undefined
}

export function signed(
  interaction: Json,
  { at = Math.floor(Date.now() / 1000) }: { at?: number | string } = {},
): { headers: Record<string, string>; body: string } {
  const body = JSON.stringify(interaction)
  return {
    headers: {
      'content-type': 'application/json',
      'x-signature-timestamp': String(at),
      'x-signature-ed25519': sign(null, Buffer.from(`${at}${body}`), PRIVATE_KEY).toString('hex'),
    },
    body,
  }
}

let interactions = 0

function made(type: number, user: string, over: Json): Json {
  return {
    version: 1,
    type,
    id: String(845027738276462000 + ++interactions * 1000),
    token: `aW50ZXJhY3Rpb246${interactions}`,
    application_id: APP,
    guild_id: GUILD,
    channel_id: CHANNEL,
    member: { user: { id: user, username: 'mason', discriminator: '0' }, roles: [], permissions: '0' },
    ...over,
  }
}

/** `/ropeway deploy stack:hello tag:v2` is `command('deploy', { stack: 'hello', tag: 'v2' })`. */
export function command(
  name: string,
  values: Record<string, string> = {},
  over: Json = {},
  user = ANNA,
): Json {
  const options = Object.entries(values).map(([option, value]) => ({ name: option, type: 3, value }))
  const data = { id: '771825006014889984', name: 'ropeway', type: 1, options: [{ name, type: 1, options }] }
  return made(2, user, { data, ...over })
}

export function click(custom_id: string, user = ANNA): Json {
  return made(3, user, { data: { component_type: 2, custom_id }, message: { id: '1' } })
}
