// Microsoft Teams: the webhook of a workflow (or of a connector, which came before), with an Adaptive Card. Its texts are TextRuns, which
// have no markdown, so nothing needs to be escaped; a mention would need an entity, and there is none.
// https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook

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
import { messageOf, type Fact, type Message } from './message.ts'
import type { Notice } from './notice.ts'
import { fit } from './text.ts'

/** A whole message; a larger one is refused with 413. */
const MESSAGE_BYTES_MAX = 28 * 1024

/** The longest text of one element, tried from the first until all is small enough. No title and no dozen facts of the last are 28 KB. */
const TEXT_CHARS = [3000, 1000, 300, 80]

// Workflows of before and after the move of November 2025, and connectors.
const DOMAINS = ['.environment.api.powerplatform.com', '.logic.azure.com', '.webhook.office.com']

export const teams = (secret: SecretSchema) =>
  destinationSchema('teams', { url: secret(urlFault) }, ({ url }): Sender => async (notice, { send }) => {
    const body = JSON.stringify(payloadOf(notice))
    return meaningOf(await send({ method: 'POST', url, headers: JSON_HEADERS, body }))
  })

const urlFault = (text: string) =>
  addressFault(text, {
    isHost: (host) => DOMAINS.some((domain) => host.endsWith(domain)),
    path: /^\/./,
    like: 'https://….environment.api.powerplatform.com/…, ….logic.azure.com or ….webhook.office.com',
  })

export function payloadOf(notice: Notice): unknown {
  const message = messageOf(notice)
  return (
    TEXT_CHARS.map((chars) => envelope(message, chars)).find(isSmall) ??
    envelope({ ...message, facts: [], log: [] }, 80)
  )
}

const isSmall = (each: unknown) => Buffer.byteLength(JSON.stringify(each)) <= MESSAGE_BYTES_MAX

function envelope(message: Message, chars: number): unknown {
  return {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        contentUrl: null,
        content: cardOf(message, chars),
      },
    ],
  }
}

const COLOURS = { start: 'Accent', success: 'Good', failure: 'Attention', stuck: 'Warning' } as const

function cardOf({ title, tone, facts, log, link }: Message, chars: number): unknown {
  return {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [
      line([run(fit(title, chars), { weight: 'Bolder', size: 'Medium', color: COLOURS[tone] })], 'Default'),
      ...facts.flatMap((fact) => linesOf(fact, chars)),
      ...textLines(fit(log.join('\n'), chars)).map((text, index) =>
        line([run(text, MONOSPACE)], index === 0 ? 'Default' : 'None'),
      ),
    ],
    ...(link === undefined ? {} : { actions: [{ type: 'Action.OpenUrl', title: 'Follow it', url: link }] }),
  }
}

const MONOSPACE = { fontType: 'Monospace' }

// A line break within a TextRun is not one for every client: each line is an element.
function linesOf({ label, text, isCode = false }: Fact, chars: number): unknown[] {
  return textLines(fit(text, chars)).map((each, index) => {
    const value = run(each, isCode ? MONOSPACE : {})
    return index === 0
      ? line([run(`${label}: `, { weight: 'Bolder' }), value], 'Small')
      : line([value], 'None')
  })
}

function textLines(text: string): string[] {
  return text.split('\n').filter((each) => each.trim() !== '')
}

function line(inlines: readonly unknown[], spacing: 'Default' | 'Small' | 'None'): unknown {
  return { type: 'RichTextBlock', spacing, inlines }
}

function run(text: string, style: Readonly<Record<string, string>>): unknown {
  return { type: 'TextRun', text, ...style }
}

// A connector answers 200 also where Teams itself has refused the message, and names Teams' status in the text.
function meaningOf(answer: Answer): Outcome {
  const inner = 'text' in answer ? /returned HTTP error (\d{3})/.exec(answer.text)?.[1] : undefined
  if (!('text' in answer) || inner === undefined) return outcomeOf(answer)
  return outcomeOf({ ...answer, status: Number(inner) }, 'by Teams, behind the webhook')
}
