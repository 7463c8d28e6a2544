// The public keys of issuers: fetched from where the configuration says and from nowhere else, kept while the issuer is out, and asked for
// so seldom that tokens with invented keys are nobody's load. One of these lives as long as its hub or its agent.

import {
  createLocalJWKSet,
  errors,
  type CryptoKey,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWTHeaderParameters,
} from 'jose'
import { z } from 'zod'
import {
  ISSUER_ANSWER_BYTES_MAX,
  ISSUER_ANSWER_MS_MAX,
  ISSUER_COOLDOWN_MS,
  ISSUER_KEYS_FRESH_MS,
  ISSUER_KEYS_STALE_MS_MAX,
} from '../limits.ts'
import { Problem } from '../problems.ts'

/** An issuer, and where its keys are; undefined: where its discovery document says. */
export interface Issuer {
  readonly issuer: string
  readonly jwks?: string | undefined
}

/** What an issuer said last, and when. */
export interface KnownKeys {
  readonly jwks: JSONWebKeySet
  readonly at: number
}

/** Where known keys outlast the process. */
interface KeptKeys {
  get(url: string): KnownKeys | undefined
  put(url: string, known: KnownKeys): void
}

interface Entry {
  known: KnownKeys | undefined
  askedAt: number
  /** The call that is under way. Others wait for its answer instead of calling again. */
  fetching: Promise<void> | undefined
}

const jwksSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(64) })
const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.string().refine(isIssuerUrl) })

export class IssuerKeys {
  readonly #kept: KeptKeys | undefined
  readonly #entries = new Map<string, Entry>()

  constructor(kept?: KeptKeys) {
    this.#kept = kept
  }

  /** For jwtVerify: finds the key of a token's header. Throws `issuer-unreachable` where there is none to ask. */
  keysOf(
    issuer: Issuer,
    nowMs: number,
  ): (header: JWTHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey> {
    return async (header, token) => {
      const entry = this.#entry(issuer)
      const ageMs = () => (entry.known ? nowMs - entry.known.at : Infinity)
      if (ageMs() >= ISSUER_KEYS_FRESH_MS) await this.#ask(issuer, entry, nowMs)
      if (!entry.known || ageMs() > ISSUER_KEYS_STALE_MS_MAX) throw unreachable(issuer)
      try {
        return await createLocalJWKSet(entry.known.jwks)(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
        await this.#ask(issuer, entry, nowMs)
        return await createLocalJWKSet(entry.known.jwks)(header, token)
      }
    }
  }

  #entry(issuer: Issuer): Entry {
    const url = keysUrlOf(issuer)
    const entry = this.#entries.get(url) ?? {
      known: this.#kept?.get(url),
      askedAt: -Infinity,
      fetching: undefined,
    }
    this.#entries.set(url, entry)
    return entry
  }

  // A failure leaves what was known, and whoever asks decides by its age whether that will do.
  async #ask(issuer: Issuer, entry: Entry, nowMs: number): Promise<void> {
    if (!entry.fetching && nowMs - entry.askedAt < ISSUER_COOLDOWN_MS) return
    if (!entry.fetching) {
      entry.askedAt = nowMs
      entry.fetching = fetchKeys(issuer)
        .then((jwks) => {
          entry.known = { jwks, at: nowMs }
          this.#kept?.put(keysUrlOf(issuer), entry.known)
        })
        .catch(() => {})
        .finally(() => (entry.fetching = undefined))
    }
    await entry.fetching
  }
}

/** Whether tokens may be trusted that are signed with keys from there: https, or this machine's own loopback for a test. */
export function isIssuerUrl(text: string): boolean {
  const url = URL.parse(text)
  if (!url || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
}
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/

/** Where the keys of an issuer are found: under this they are kept. */
export function keysUrlOf({ issuer, jwks }: Issuer): string {
  return jwks ?? discoveryOf(issuer)
}

function discoveryOf(issuer: string): string {
  return `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
}

async function fetchKeys({ issuer, jwks }: Issuer): Promise<JSONWebKeySet> {
  const signal = AbortSignal.timeout(ISSUER_ANSWER_MS_MAX)
  let url = jwks
  if (url === undefined) {
    const document = discoverySchema.parse(await fetchJson(discoveryOf(issuer), signal))
    if (document.issuer !== issuer) throw new Error('the discovery document is another issuer’s')
    url = document.jwks_uri
  }
  return jwksSchema.parse(await fetchJson(url, signal))
}

// No redirect is followed: it would be a second word on where the keys are.
async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { redirect: 'manual', signal, headers: { accept: 'application/json' } })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`HTTP ${response.status}`)
  }
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > ISSUER_ANSWER_BYTES_MAX) throw new Error('the answer is too long')
    text += decoder.decode(chunk, { stream: true })
  }
  return JSON.parse(text)
}

function unreachable({ issuer }: Issuer): Problem {
  return new Problem('issuer-unreachable', `${issuer} does not say which keys it signs with`, {
    cure: 'check that this machine reaches it, and the trigger’s issuer and jwks',
  })
}
