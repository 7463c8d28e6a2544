// What the hub knows of its host beside the deploys: a few values in the object's key-value store.

import type { Hello } from '../../shared/protocol.ts'
import { isKnownTrigger, type Trigger } from '../../shared/triggers/index.ts'
import { keysUrlOf, type KnownKeys } from '../../shared/triggers/issuer-keys.ts'
import type { Enrolment } from './keys.ts'

export interface Facts {
  /** Which tables there are (schema.ts). */
  schema: number
  enrolment: Enrolment
  /** What the agent said last, secrets of triggers included: these never leave this object. */
  hello: Pick<Hello, 'agent' | 'stacks' | 'triggers' | 'chats'>
  /** Ids of the tokens that the host has revoked. */
  revoked: readonly string[]
  /** The keys of CI systems, by the URL that they are fetched from. They are stored so that they survive a sleep of this object while a CI
   * system is down. */
  issuers: Readonly<Record<string, KnownKeys>>
  /** Signs the sessions of browsers. Made here, known to nobody else. */
  sessionKey: Uint8Array
  /** Counts the agent's connections; only the newest counts. */
  generation: number
  seenAt: number
}

/** The part of the storage that is needed here. */
interface KeyValues {
  get<T>(key: string): T | undefined
  put<T>(key: string, value: T): void
  delete(key: string): boolean
}

/** Keeps what it has read in memory: to decode the hello of a host with many triggers takes longer than to verify a hook. */
export class FactStore {
  readonly #kv: KeyValues
  readonly #known = new Map<keyof Facts, Facts[keyof Facts] | undefined>()

  constructor(kv: KeyValues) {
    this.#kv = kv
  }

  get<K extends keyof Facts>(key: K): Facts[K] | undefined {
    if (!this.#known.has(key)) this.#known.set(key, this.#kv.get<Facts[K]>(key))
    return this.#known.get(key) as Facts[K] | undefined
  }

  put<K extends keyof Facts>(key: K, value: Facts[K]): void {
    this.#kv.put(key, value)
    this.#known.set(key, value)
  }

  /** Writes only what has changed, since each row written is billed. */
  putIfNew<K extends keyof Facts>(key: K, value: Facts[K]): void {
    if (JSON.stringify(value) !== JSON.stringify(this.get(key))) this.put(key, value)
  }

  forget(key: keyof Facts): void {
    this.#kv.delete(key)
    this.#known.delete(key)
  }
}

/** The trigger of that name, if the agent has named it and this relay knows its type. */
export function triggerNamed(facts: FactStore, stack: string, name: string): Trigger | undefined {
  const named = facts.get('hello')?.triggers.find((each) => each.stack === stack && each.name === name)
  return named && isKnownTrigger(named) ? named : undefined
}

const SESSION_KEY_BYTES = 32

/** The key of this hub's sessions, made when the first is. */
export function sessionKey(facts: FactStore): Uint8Array {
  const known = facts.get('sessionKey')
  if (known) return known
  const made = crypto.getRandomValues(new Uint8Array(SESSION_KEY_BYTES))
  facts.put('sessionKey', made)
  return made
}

/** Keeps an issuer's keys. Those of issuers that no trigger names any more are dropped. */
export function keepIssuer(facts: FactStore, url: string, known: KnownKeys): void {
  const { triggers = [] } = facts.get('hello') ?? {}
  const urls = new Set(triggers.flatMap((trigger) => ('issuer' in trigger ? keysUrlOf(trigger) : [])))
  const kept = Object.entries({ ...facts.get('issuers'), [url]: known })
  facts.put('issuers', Object.fromEntries(kept.filter(([each]) => urls.has(each))))
}
