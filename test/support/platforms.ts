// Stand-ins for the platforms that are notified: one HTTP server that refuses what each of them refuses by its own documentation, and a way
// to reach it by their real addresses. Requests, timeouts and answers are real ones.

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { Outgoing } from '../../agent/notify/kind.ts'
import { post } from '../../agent/notify/post.ts'

export interface Got {
  readonly method: string
  /** As the platform would have seen it, without the query. */
  readonly url: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly raw: string
  readonly body: unknown
}

type Answer = (response: ServerResponse, got: Got) => void

export interface Platforms {
  readonly got: Got[]
  /** The next requests are answered so, one after the other, before the platform is asked. */
  readonly next: Answer[]
  /** Where the stand-in is itself. */
  readonly url: string
  send(request: Outgoing, signal?: AbortSignal, answerMs?: number): ReturnType<typeof post>
}

export const refuse =
  (status: number, headers: Record<string, string> = {}, body = ''): Answer =>
  (response) =>
    response.writeHead(status, headers).end(body)

export const hang: Answer = () => {}

/** An answer that is not given until the test gives it, and whether somebody waits for it. */
export function hold(): { answer: Answer; isAwaited: () => boolean; letGo: () => void } {
  let held: ServerResponse | undefined
  return {
    answer: (response) => void (held = response.once('close', () => (held = undefined))),
    isAwaited: () => held !== undefined,
    letGo: () => held?.end('ok'),
  }
}

export async function platforms(): Promise<Platforms> {
  const got: Got[] = []
  const next: Answer[] = []
  const github = new GitHub()
  const server = createServer((request, response) => {
    void text(request).then((raw) => {
      const at = new URL(`https:/${request.url}`)
      const one: Got = {
        method: request.method ?? '',
        url: at.origin + at.pathname,
        query: at.searchParams,
        headers: request.headers,
        raw,
        body: raw === '' ? {} : JSON.parse(raw),
      }
      got.push(one)
      const answer = next.shift()
      if (answer) return answer(response, one)
      if (at.hostname === 'api.github.com') return github.answer(response, one)
      const [, body, refusal] = BODIES.find(([host]) => at.hostname.endsWith(host)) ?? []
      const fault = body?.safeParse({ ...(one.body as object), '?': Object.fromEntries(one.query) }).error
      response.writeHead(fault ? 400 : 200).end(fault ? (refusal ?? '') : 'ok')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    got,
    next,
    url,
    send: (request, signal = new AbortController().signal, answerMs) =>
      post(
        { ...request, url: request.url.startsWith(url) ? request.url : request.url.replace('https:/', url) },
        { version: 'test', signal, ...(answerMs === undefined ? {} : { answerMs }) },
      ),
  }
}

/** What would call somebody, or a whole channel. */
const slackText = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((each) => !/<[!@#]/.test(each))

/** https://docs.slack.dev/reference/block-kit/blocks */
const slackBody = z.object({
  text: slackText(40_000),
  link_names: z.literal(false),
  blocks: z
    .array(
      z.object({
        type: z.literal('section'),
        text: z.strictObject({ type: z.literal('mrkdwn'), text: slackText(3000), verbatim: z.literal(true) }),
      }),
    )
    .max(50),
})

/** https://discord.com/developers/docs/resources/message#embed-object-embed-limits */
const discordBody = z.object({
  '?': z.object({ wait: z.literal('true') }),
  allowed_mentions: z.strictObject({ parse: z.tuple([]) }),
  embeds: z.tuple([
    z
      .object({
        title: z.string().min(1).max(256),
        description: z.string().max(4096).default(''),
        fields: z
          .array(z.object({ name: z.string().min(1).max(256), value: z.string().min(1).max(1024) }))
          .max(25),
      })
      .refine(
        ({ title, description, fields }) =>
          [title, description, ...fields.flatMap(({ name, value }) => [name, value])].join('').length <= 6000,
      ),
  ]),
})

/** 28 KB, a card, no element whose text is markdown, and no mention. */
const teamsBody = z
  .object({
    type: z.literal('message'),
    attachments: z.tuple([
      z.object({
        contentType: z.literal('application/vnd.microsoft.card.adaptive'),
        content: z.strictObject({
          $schema: z.string(),
          type: z.literal('AdaptiveCard'),
          version: z.literal('1.4'),
          actions: z.array(z.unknown()).optional(),
          body: z.array(
            z.object({
              type: z.literal('RichTextBlock'),
              inlines: z.array(z.object({ type: z.literal('TextRun'), text: z.string().min(1) })),
            }),
          ),
        }),
      }),
    ]),
  })
  .refine((body) => Buffer.byteLength(JSON.stringify({ ...body, '?': undefined })) <= 28 * 1024)

/** By the end of the host: what it takes, and what it says of anything else. */
const BODIES = [
  ['slack.com', slackBody, 'invalid_blocks'],
  ['discord.com', discordBody, '{"message":"Invalid Form Body","code":50035}'],
  ['powerplatform.com', teamsBody, 'not a card'],
] as const

const newDeployment = z.object({
  ref: z.string(),
  task: z.string(),
  environment: z.string(),
  auto_merge: z.literal(false),
  required_contexts: z.tuple([]),
})
const newStatus = z.object({
  state: z.enum(['error', 'failure', 'in_progress', 'success']),
  description: z.string().max(140),
})

/** Deployments and their statuses, as the REST API has them. */
class GitHub {
  readonly #deployments: { id: number; task: string; environment: string }[] = []

  answer(response: ServerResponse, { method, url, query, headers, body }: Got): void {
    const json = (status: number, value: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (!headers['user-agent'])
      return void json(403, { message: 'Request forbidden by administrative rules.' })
    if (!headers.authorization?.startsWith('Bearer '))
      return void json(401, { message: 'Requires authentication' })
    const path = url.replace('https://api.github.com/repos/acme/hello/deployments', '')
    if (method === 'GET' && path === '') {
      const found = this.#deployments.filter(
        ({ task, environment }) => task === query.get('task') && environment === query.get('environment'),
      )
      return void json(200, found)
    }
    if (method === 'POST' && path === '') {
      const asked = newDeployment.safeParse(body).data
      if (asked?.ref === 'gone') return void json(422, { message: 'No ref found for: gone' })
      if (!asked) return void json(409, { message: 'Conflict merging' })
      const made = { ...asked, id: 40 + this.#deployments.length }
      this.#deployments.push(made)
      return void json(201, made)
    }
    const id = Number(/^\/(\d+)\/statuses$/.exec(path)?.[1])
    if (method !== 'POST' || !this.#deployments.some((each) => each.id === id))
      return void json(404, { message: 'Not Found' })
    json(newStatus.safeParse(body).success ? 201 : 422, { message: 'Validation Failed' })
  }
}
