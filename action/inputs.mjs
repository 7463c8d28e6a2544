// The action's inputs, as action.yml hands them on, made into the one request that is sent.

import { Fault } from './fault.mjs'

/** A job's own limit on GitHub's machines. */
const TIMEOUT_MINUTES_MAX = 360
/** What the relay takes. A commit's message may be longer, and is no reason to fail. */
const REASON_CHARS_MAX = 500

/**
 * @typedef {object} Inputs
 * @property {URL} address
 * @property {string} body the very bytes that the token may be bound to
 * @property {string} audience
 * @property {boolean} isBound
 * @property {number} timeoutMs
 */

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Inputs}
 */
export function readInputs(env) {
  const input = (/** @type {string} */ name) => env[`ROPEWAY_${name}`]?.trim() || undefined
  const url = input('URL') ?? ''
  const address = parseUrl(url)
  if (!address || !/^\/hooks(\/[a-z0-9-]+){3}$/.test(address.pathname) || address.search || address.hash)
    throw new Fault('url is not a trigger’s address', 'it looks like https://RELAY/hooks/HOST/STACK/TRIGGER')
  if (address.protocol !== 'https:' && !/^(127\.|localhost$|\[::1\]$)/.test(address.hostname))
    throw new Fault(
      'url begins with http:',
      'give an https address: whoever sees the token could deploy with it',
    )
  const bind = input('BIND') ?? 'true'
  if (bind !== 'true' && bind !== 'false') throw new Fault(`bind is ${bind}`, 'it is true or false')
  const minutes = Number(input('TIMEOUT_MINUTES') ?? 60)
  if (!(minutes > 0 && minutes <= TIMEOUT_MINUTES_MAX))
    throw new Fault(`timeout-minutes is not a number up to ${TIMEOUT_MINUTES_MAX}`)
  // What is not given is not said: the relay refuses an empty text.
  const body = JSON.stringify({
    image: input('IMAGE'),
    tag: input('TAG'),
    digest: input('DIGEST'),
    env: variables(input('ENV')),
    reason: reasonOf(input('REASON')),
  })
  const timeoutMs = minutes * 60_000
  return { address, body, audience: input('AUDIENCE') ?? url, isBound: bind === 'true', timeoutMs }
}

/** @param {string} text */
function parseUrl(text) {
  try {
    return new URL(text)
  } catch {
    return null
  }
}

/** @param {string | undefined} text */
function reasonOf(text) {
  const clean = text?.replaceAll('\r\n', '\n').replace(/[^\P{Cc}\t\n]/gu, ' ')
  return clean?.slice(0, REASON_CHARS_MAX).toWellFormed()
}

/** @param {string | undefined} text */
function variables(text) {
  if (text === undefined) return undefined
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '')
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf('=')
      if (at < 1) throw new Fault('a line of env has no NAME=', 'write a variable a line, as MESSAGE=v2')
      return [line.slice(0, at).trim(), line.slice(at + 1)]
    }),
  )
}
