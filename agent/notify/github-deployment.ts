// GitHub: a deployment of a repository, and its statuses. https://docs.github.com/rest/deployments/deployments

import { z } from 'zod'
import { jsonOf } from '../json.ts'
import {
  destinationSchema,
  outcomeOf,
  type Answer,
  type Outcome,
  type Outgoing,
  type SecretSchema,
  type Send,
  type Sender,
} from './kind.ts'
import { changesOf, standingOf, titleOf } from './message.ts'
import type { Notice } from './notice.ts'
import { fit } from './text.ts'

/** A longer description is refused with 422. https://docs.github.com/rest/deployments/statuses#create-a-deployment-status */
const DESCRIPTION_CHARS_MAX = 140
/** A branch, a tag, an environment: GitHub's own names are shorter. */
const NAME_CHARS_MAX = 255

const API = 'https://api.github.com'
/** In `ref`: the tag of the image that is deployed. */
const TAG = '{tag}'

const STATES = { start: 'in_progress', success: 'success', failure: 'failure', stuck: 'error' } as const

const repository = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,38}\/(?!\.\.?$)[A-Za-z0-9._-]{1,100}$/, 'should be owner/name')
// What git allows in a name, in short: nothing that could be read as an option or a path.
const ref = z
  .string()
  .max(NAME_CHARS_MAX)
  .regex(/^(?!-)[^\s~^:?*[\\\p{Cc}]+$/u, 'is not a branch, a tag or a commit')
const environment = z
  .string()
  .min(1)
  .max(NAME_CHARS_MAX)
  .regex(/^\P{Cc}+$/u, 'has control characters')
const api = z
  .string()
  .transform((text) => text.replace(/\/$/, ''))
  .refine(isApi, 'should be the https address of the API, as https://github.example.com/api/v3')

export const githubDeployment = (secret: SecretSchema) =>
  destinationSchema(
    'github-deployment',
    {
      repository,
      ref,
      environment: environment.default('production'),
      token: secret(tokenFault),
      api: api.default(API),
    },
    senderOf,
  )

interface Settings {
  readonly repository: string
  readonly ref: string
  readonly environment: string
  readonly token: string
  readonly api: string
}

function senderOf(settings: Settings): Sender {
  return async (notice, { send, nowMs }) => {
    const ask = asker(settings, send)
    const found = await deploymentOf(settings, notice, ask)
    if (!('id' in found)) return 'answer' in found ? meaningOf(found.answer, nowMs, settings.token) : found
    const status = await ask('POST', `/deployments/${found.id}/statuses`, {
      state: STATES[notice.moment],
      description: descriptionOf(notice),
      environment: settings.environment,
      ...(notice.link === undefined ? {} : { log_url: notice.link }),
    })
    return meaningOf(status, nowMs, settings.token)
  }
}

type Ask = (method: Outgoing['method'], path: string, body?: unknown) => Promise<Answer>

function asker({ api: base, repository: name, token }: Settings, send: Send): Ask {
  return (method, path, body) =>
    send({
      method,
      url: `${base}/repos/${name}${path}`,
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${token}`,
        'x-github-api-version': '2022-11-28',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
}

const idSchema = z.object({ id: z.int().positive() })

/**
 * The deployment of this deploy, found by its task, or made. It is looked for each time: an agent that was killed after it was made would
 * make a second one.
 */
async function deploymentOf(
  settings: Settings,
  notice: Notice,
  ask: Ask,
): Promise<{ id: number } | { answer: Answer } | Extract<Outcome, { isSent: false }>> {
  const task = `deploy:${notice.deploy}`
  const query = new URLSearchParams({ task, environment: settings.environment, per_page: '1' })
  const list = await ask('GET', `/deployments?${query.toString()}`)
  if (!isDone(list)) return { answer: list }
  const known = z.array(idSchema).safeParse(jsonOf(list.text)).data
  // No list is not an empty one: there may be a deployment.
  if (!known) return { isSent: false, fault: 'GitHub’s answer is not a list', isFinal: false }
  if (known[0]) return known[0]
  const wanted = settings.ref.replaceAll(TAG, () => notice.tag ?? '')
  if (settings.ref.includes(TAG) && notice.tag === undefined)
    return {
      isSent: false,
      fault: `the deploy has no image with a tag for the ref ${settings.ref}`,
      isFinal: true,
    }
  const made = await ask('POST', '/deployments', {
    ref: wanted,
    task,
    environment: settings.environment,
    description: descriptionOf(notice),
    // What is deployed is decided already: nothing is merged for it, and no check is waited for.
    auto_merge: false,
    required_contexts: [],
    payload: { ropeway: { host: notice.host, stack: notice.stack, deploy: notice.deploy } },
  })
  if (!isDone(made)) return { answer: made }
  return (
    idSchema.safeParse(jsonOf(made.text)).data ?? {
      isSent: false,
      fault: 'GitHub’s answer has no id',
      isFinal: false,
    }
  )
}

function descriptionOf(notice: Notice): string {
  const more = notice.moment === 'failure' ? [standingOf(notice), notice.problem?.message] : changesOf(notice)
  return fit([titleOf(notice), ...more].filter(Boolean).join('; '), DESCRIPTION_CHARS_MAX)
}

function isDone(answer: Answer): answer is Extract<Answer, { status: number }> {
  return 'status' in answer && answer.status >= 200 && answer.status < 300
}

const messageSchema = z.object({ message: z.string() })
/** A sentence of GitHub's. */
const MESSAGE_CHARS_MAX = 120

// Too many requests are a 403, too. https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
function meaningOf(answer: Answer, nowMs: number, token: string): Outcome {
  if (!('status' in answer)) return outcomeOf(answer)
  const { message = '' } = messageSchema.safeParse(jsonOf(answer.text)).data ?? {}
  const word = message.replaceAll(token, '(the token)').replaceAll(/\p{Cc}+/gu, ' ')
  const outcome = outcomeOf(answer, fit(word, MESSAGE_CHARS_MAX))
  if (outcome.isSent || answer.status !== 403) return outcome
  const isSpent = answer.headers.get('x-ratelimit-remaining') === '0'
  const resetAt = Number(answer.headers.get('x-ratelimit-reset') ?? NaN) * 1000
  if (outcome.retryAfterMs === undefined && !isSpent) return outcome
  const untilReset = Number.isFinite(resetAt) ? Math.max(0, resetAt - nowMs) : undefined
  return { ...outcome, isFinal: false, retryAfterMs: outcome.retryAfterMs ?? untilReset }
}

function isApi(text: string): boolean {
  const url = URL.parse(text)
  return (
    url !== null &&
    url.protocol === 'https:' &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === ''
  )
}

function tokenFault(text: string): string | undefined {
  return /^[\x21-\x7e]{20,1024}$/.test(text) ? undefined : 'is not a token of GitHub’s'
}
