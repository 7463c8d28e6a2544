// Discord: a channel's webhook. https://discord.com/developers/docs/resources/webhook#execute-webhook

import { z } from 'zod'
import { jsonOf } from '../json.ts'
import {
  addressFault,
  destinationSchema,
  JSON_HEADERS,
  outcomeOf,
  type Answer,
  type Outcome,
  type SecretSchema,
  type Sender,
} from './kind.ts'
import { messageOf, type Fact } from './message.ts'
import type { Notice } from './notice.ts'
import { fit } from './text.ts'

/** Of an embed; what is longer is refused. https://discord.com/developers/docs/resources/message#embed-object-embed-limits */
const TITLE_CHARS_MAX = 256
const DESCRIPTION_CHARS_MAX = 4096
const FIELDS_MAX = 25
const FIELD_NAME_CHARS_MAX = 256
const FIELD_VALUE_CHARS_MAX = 1024
/** All texts of it together. */
const EMBED_CHARS_MAX = 6000

const HOSTS = ['discord.com', 'discordapp.com']
const COLOURS = { start: 0x3498db, success: 0x2ecc71, failure: 0xe74c3c, stuck: 0xe67e22 } as const

export const discord = (secret: SecretSchema) =>
  destinationSchema('discord', { url: secret(urlFault) }, ({ url }): Sender => async (notice, { send }) => {
    const address = new URL(url)
    // Else a message that is refused later is answered as one that is taken.
    address.searchParams.set('wait', 'true')
    const body = JSON.stringify(payloadOf(notice))
    return meaningOf(await send({ method: 'POST', url: address.href, headers: JSON_HEADERS, body }))
  })

const urlFault = (text: string) =>
  addressFault(text, {
    isHost: (host) => HOSTS.includes(host),
    path: /^\/api\/webhooks\/./,
    like: 'https://discord.com/api/webhooks/…',
  })

interface Field {
  readonly name: string
  readonly value: string
  readonly inline: boolean
}

interface Embed {
  readonly title: string
  readonly color: number
  readonly fields: readonly Field[]
  readonly description?: string
  readonly url?: string
}

export function payloadOf(notice: Notice): { allowed_mentions: { parse: [] }; embeds: [Embed] } {
  const { title, tone, facts, log, link } = messageOf(notice)
  const heading = fit(title, TITLE_CHARS_MAX, escape)
  const fields: Field[] = []
  let left = EMBED_CHARS_MAX - heading.length
  for (const each of facts.slice(0, FIELDS_MAX)) {
    const field = fieldOf(each, left)
    if (!field) continue
    fields.push(field)
    left -= field.name.length + field.value.length
  }
  const description = logOf(log, Math.min(DESCRIPTION_CHARS_MAX, left))
  return {
    // Whatever a text says, it calls nobody.
    allowed_mentions: { parse: [] },
    embeds: [
      {
        title: heading,
        color: COLOURS[tone],
        fields,
        ...(description === undefined ? {} : { description }),
        ...(link === undefined ? {} : { url: link }),
      },
    ],
  }
}

/** Below this there is no use in the beginning of a text. */
const CHARS_MIN = 20
const FENCE = '```'

function fieldOf({ label, text, isCode = false }: Fact, left: number): Field | undefined {
  const name = fit(label, FIELD_NAME_CHARS_MAX, escape)
  const room = Math.min(FIELD_VALUE_CHARS_MAX, left - name.length)
  if (room < CHARS_MIN) return undefined
  const value = isCode ? `\`${fit(text, room - 2, escapeCode)}\`` : fit(text, room, escape)
  return { name, value, inline: false }
}

function logOf(log: readonly string[], room: number): string | undefined {
  const fences = 2 * (FENCE.length + 1)
  if (log.length === 0 || room < CHARS_MIN + fences) return undefined
  return `${FENCE}\n${fit(log.join('\n'), room - fences, escapeCode)}\n${FENCE}`
}

// All that Discord's markdown knows: formats, headings, lists, quotes, links, mentions, emojis, timestamps.
const escape = (character: string) =>
  /[\\*_~`|>#\-+[\]()<:@]/.test(character) ? `\\${character}` : character
// There is no way to write a backtick in code.
const escapeCode = (character: string) => (character === '`' ? '’' : character)

const errorSchema = z.object({ code: z.int() })

// Its errors have a number, of which https://discord.com/developers/docs/topics/opcodes-and-status-codes has the meaning.
function meaningOf(answer: Answer): Outcome {
  const code = 'text' in answer ? errorSchema.safeParse(jsonOf(answer.text)).data?.code : undefined
  return outcomeOf(answer, code === undefined ? undefined : `code ${code}`)
}
