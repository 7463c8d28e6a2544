// Slack: an incoming webhook. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

import {
  addressFault,
  destinationSchema,
  JSON_HEADERS,
  outcomeOf,
  type SecretSchema,
  type Sender,
} from './kind.ts'
import { messageOf, type Fact } from './message.ts'
import type { Notice } from './notice.ts'
import { fit } from './text.ts'

/** A section's text; a longer one is refused with `invalid_blocks`. https://docs.slack.dev/reference/block-kit/blocks/section-block */
const SECTION_CHARS_MAX = 3000
/** Blocks of one message. One is a heading, one the log. https://docs.slack.dev/reference/block-kit/blocks */
const BLOCKS_MAX = 50
/** One fact, so that several are in one section. */
const FACT_CHARS_MAX = 1200

const HOSTS = ['hooks.slack.com', 'hooks.slack-gov.com']

export const slack = (secret: SecretSchema) =>
  destinationSchema('slack', { url: secret(urlFault) }, ({ url }): Sender => async (notice, { send }) => {
    const body = JSON.stringify(payloadOf(notice))
    const answer = await send({ method: 'POST', url, headers: JSON_HEADERS, body })
    return outcomeOf(answer, 'text' in answer ? wordOf(answer.text) : undefined)
  })

const urlFault = (text: string) =>
  addressFault(text, {
    isHost: (host) => HOSTS.includes(host),
    path: /^\/services\/./,
    like: 'https://hooks.slack.com/services/…',
  })

/** The message, with a plain title for where blocks are not shown. */
export function payloadOf(notice: Notice): { text: string; blocks: unknown[] } & Record<string, unknown> {
  const { title, facts, log, link } = messageOf(notice)
  const heading = `*${fit(title, SECTION_CHARS_MAX / 2, escape)}*`
  const sections = [
    ...sectionsOf(facts),
    ...logOf(log),
    ...(link === undefined ? [] : [`<${link}|Follow it>`]),
  ]
  return {
    text: fit(title, SECTION_CHARS_MAX, escape),
    blocks: [heading, ...sections].slice(0, BLOCKS_MAX).map(section),
    // Nothing in it is looked up, and nobody is called.
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
  }
}

// `verbatim`: what looks like a name or a channel stays text.
function section(text: string): unknown {
  return { type: 'section', text: { type: 'mrkdwn', text, verbatim: true } }
}

function sectionsOf(facts: readonly Fact[]): string[] {
  const sections: string[] = []
  for (const each of facts) {
    const line = lineOf(each)
    const last = sections.at(-1)
    if (last !== undefined && last.length + 1 + line.length <= SECTION_CHARS_MAX)
      sections[sections.length - 1] = `${last}\n${line}`
    else sections.push(line)
  }
  return sections
}

function lineOf({ label, text, isCode = false }: Fact): string {
  const value = fit(text, FACT_CHARS_MAX, isCode ? escapeCode : escape)
  return `*${label}:* ${isCode ? `\`${value}\`` : value}`
}

function logOf(log: readonly string[]): string[] {
  if (log.length === 0) return []
  return [`\`\`\`${fit(log.join('\n'), SECTION_CHARS_MAX - 6, escapeCode)}\`\`\``]
}

// These three make links, mentions and channels. https://docs.slack.dev/messaging/formatting-message-text#escaping
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }
const escape = (character: string) => ENTITIES[character] ?? character
// There is no way to write a backtick in code.
const escapeCode = (character: string) => (character === '`' ? '’' : escape(character))

// Slack's errors are one word, as `no_service`. Anything else may be a proxy's page, which may hold the address.
function wordOf(text: string): string | undefined {
  return /^[a-z_]{1,40}$/.test(text.trim()) ? text.trim() : undefined
}
