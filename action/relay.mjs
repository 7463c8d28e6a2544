// The way to the relay: one request, which may be sent as often as it takes. The relay tells by its token that it is the same one, asks
// the host once, and goes on telling how the deploy goes.

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from './fault.mjs'

/** @import { LoggedEvent } from '../shared/events.ts' */
/** @import { Inputs } from './inputs.mjs' */

/** Waits between two tries: doubled each time. */
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 15_000
/** Without the relay for this long the job gives up. The deploy goes on without it. */
const UNREACHABLE_MS_MAX = 300_000
/** One answer, and the time in which a stream says something: the relay sends a comment every 15 s. */
const ANSWER_MS_MAX = 30_000
const SILENCE_MS_MAX = 60_000
/** No event is half as long. */
const EVENT_CHARS_MAX = 256 * 1024

/** May well be otherwise when tried again; `waitMs` is what the other side asked for. */
class Passing extends Fault {
  waitMs = 0
}

/**
 * The job's token, made for this trigger, and for this body alone where it is bound.
 * @param {NodeJS.ProcessEnv} env
 * @param {Inputs} inputs
 * @param {AbortSignal} signal
 * @returns {Promise<string>}
 */
export async function idToken(env, { audience, body, isBound }, signal) {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: place, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = env
  if (!place || !bearer)
    throw new Fault('the job may not ask for an OIDC token', 'give it `permissions: { id-token: write }`')
  const url = new URL(place)
  const hash = createHash('sha256').update(body).digest('hex')
  url.searchParams.set('audience', isBound ? `${audience}#sha256=${hash}` : audience)
  const answer = await repeated(signal, () =>
    json('GitHub', url, { headers: { authorization: `Bearer ${bearer}` } }, signal),
  )
  if (typeof answer.value === 'string' && /^[\w.-]+$/.test(answer.value)) return answer.value
  throw new Fault('GitHub answered with no OIDC token')
}

/**
 * Asks for the deploy, once, however often that takes.
 * @param {Inputs} inputs
 * @param {string} token
 * @param {AbortSignal} signal
 * @returns {Promise<{ id: string, host: string, stack: string, isOnline: boolean }>}
 */
export async function ask({ address, body }, token, signal) {
  const { deploy, agent } = await repeated(signal, () =>
    json('the relay', address, asking(token, body), signal),
  )
  if (isName(deploy?.id) && isName(deploy.host) && isName(deploy.stack))
    return { id: deploy.id, host: deploy.host, stack: deploy.stack, isOnline: agent === 'online' }
  throw new Fault(`${address.origin} gave an answer that is none of a Ropeway relay`, 'check url')
}

/** @param {unknown} text */
function isName(text) {
  return typeof text === 'string' && /^[a-z0-9-]{1,63}$/.test(text)
}

/**
 * The deploy's events, each once, over as many connections as it takes. Ends with whoever reads it: after the final one.
 * @param {Inputs} inputs
 * @param {string} token
 * @param {AbortSignal} signal
 * @param {(why: string) => void} onLost
 * @returns {AsyncGenerator<LoggedEvent, never, void>}
 */
export async function* follow({ address, body }, token, signal, onLost) {
  const url = new URL(address)
  url.searchParams.set('wait', '')
  let last = 0
  let heardAt = Date.now()
  let delayMs = RETRY_MS_MIN
  for (;;) {
    let waitMs = 0
    try {
      for await (const logged of stream(url, asking(token, body), signal)) {
        heardAt = Date.now()
        delayMs = RETRY_MS_MIN
        // The same request gets the same events, from the first on.
        if (logged.seq > last) yield logged
        last = Math.max(last, logged.seq)
      }
      onLost('the stream ended')
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Passing) || Date.now() - heardAt > UNREACHABLE_MS_MAX) throw error
      waitMs = error.waitMs
      onLost(error.message)
    }
    await sleep(Math.max(waitMs, delayMs), undefined, { signal })
    delayMs = Math.min(delayMs * 2, RETRY_MS_MAX)
  }
}

/**
 * @param {string} token
 * @param {string} body
 * @returns {RequestInit}
 */
function asking(token, body) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return { method: 'POST', headers, body }
}

/**
 * One connection's events.
 * @param {URL} url
 * @param {RequestInit} init
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<LoggedEvent, void, void>}
 */
async function* stream(url, init, signal) {
  const silent = new AbortController()
  const silence = setTimeout(() => silent.abort(new Error('it says nothing')), SILENCE_MS_MAX)
  try {
    const response = await send('the relay', url, init, AbortSignal.any([signal, silent.signal]))
    if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
      throw new Fault('the relay does not stream to those who ask by a hook', 'it is older than this action')
    const decoder = new TextDecoder()
    let text = ''
    for await (const chunk of response.body ?? []) {
      silence.refresh()
      text += decoder.decode(chunk, { stream: true })
      const messages = text.split('\n\n')
      text = messages.pop() ?? ''
      if (text.length > EVENT_CHARS_MAX) throw new Fault('the relay sent an event without end')
      // By hand: to a regular expression U+2028, which JSON may hold, ends a line.
      for (const line of messages.flatMap((message) => message.split('\n')))
        if (line.startsWith('data: ')) yield readEvent(line.slice('data: '.length))
    }
  } catch (error) {
    throw error instanceof Fault ? error : unreachable('the relay', error)
  } finally {
    clearTimeout(silence)
    silent.abort()
  }
}

/**
 * What a stolen relay says may be anything: whoever shows it looks no further than at strings and numbers.
 * @param {string} data
 * @returns {LoggedEvent}
 */
function readEvent(data) {
  const logged = parsed(data)
  if (Number.isSafeInteger(logged?.seq) && typeof logged.event?.type === 'string') return logged
  throw new Fault('the relay sent an event that is none of a Ropeway relay')
}

/**
 * @template T
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} call
 * @returns {Promise<T>}
 */
async function repeated(signal, call) {
  const beganAt = Date.now()
  for (let delayMs = RETRY_MS_MIN; ; delayMs = Math.min(delayMs * 2, RETRY_MS_MAX)) {
    try {
      return await call()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Passing) || Date.now() - beganAt > UNREACHABLE_MS_MAX) throw error
      await sleep(Math.max(error.waitMs, delayMs), undefined, { signal })
    }
  }
}

/**
 * @param {string} who
 * @param {URL} url
 * @param {RequestInit} init
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
async function json(who, url, init, signal) {
  try {
    const response = await send(who, url, init, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]))
    return parsed(await response.text()) ?? {}
  } catch (error) {
    throw error instanceof Fault ? error : unreachable(who, error)
  }
}

/**
 * The answer, when it is 2xx. A token goes to whom it is for, and nowhere else.
 * @param {string} who
 * @param {URL} url
 * @param {RequestInit} init
 * @param {AbortSignal} signal
 * @returns {Promise<Response>}
 */
async function send(who, url, init, signal) {
  const response = await fetch(url, { ...init, redirect: 'manual', signal })
  if (response.ok) return response
  const said = parsed(await response.text())?.error
  const why = typeof said?.message === 'string' ? `${said.message} (${said.code})` : `HTTP ${response.status}`
  const cure =
    response.status === 401
      ? 'compare the trigger’s claims with this job: `ropeway status STACK` on the host says which one it was'
      : typeof said?.cure === 'string'
        ? said.cure
        : undefined
  if (response.status !== 429 && response.status < 500) throw new Fault(`${who} refuses: ${why}`, cure)
  const passing = new Passing(`${who} does not take it now: ${why}`)
  passing.waitMs = Number(/^\d{1,6}$/.exec(response.headers.get('retry-after') ?? '')?.[0] ?? 0) * 1000
  throw passing
}

/**
 * @param {string} who
 * @param {unknown} error
 */
function unreachable(who, error) {
  const { cause, message } = /** @type {Error} */ (error)
  return new Passing(`${who} does not answer: ${cause instanceof Error ? cause.message : message}`)
}

/**
 * @param {string} text
 * @returns {any}
 */
function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
