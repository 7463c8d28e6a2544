// The hub's tables, and how those of an older hub become today's: a relay is redeployed over what its hosts have stored.

import type { PublicKey } from '../../shared/api.ts'
import type { FactStore } from './facts.ts'
import type { Enrolment } from './keys.ts'

/** `n` is the order of acceptance, which two requests in one millisecond would not have by their times. */
const FIRST = `
  CREATE TABLE IF NOT EXISTS deploys (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    stack TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    actor TEXT NOT NULL,
    status TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    finished_at INTEGER,
    proof TEXT -- gone when the deploy is over: nobody verifies it again
  );
  CREATE TABLE IF NOT EXISTS events (
    deploy TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    agent_seq INTEGER NOT NULL, -- the agent's own count, to know its repetitions
    event TEXT NOT NULL,
    PRIMARY KEY (deploy, seq)
  ) WITHOUT ROWID`

/** 2: how often a request was offered, until when it counts, and which key of a trigger was used when. */
const SECOND = `
  ALTER TABLE deploys ADD COLUMN trust TEXT NOT NULL DEFAULT 'signed';
  ALTER TABLE deploys ADD COLUMN expires_at INTEGER NOT NULL DEFAULT ${Number.MAX_SAFE_INTEGER};
  ALTER TABLE deploys ADD COLUMN offers INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE deploys ADD COLUMN offered_at INTEGER;
  -- Two rows a deploy, and without it each request would read every deploy that is kept.
  CREATE INDEX pending ON deploys (n) WHERE finished_at IS NULL;
  CREATE TABLE keys_used (
    stack TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (stack, trigger_name, fingerprint)
  ) WITHOUT ROWID;
  CREATE TABLE stale_requests (
    stack TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    at INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (stack, trigger_name)
  ) WITHOUT ROWID`

/** 3: until when a push waits for its other events. */
const THIRD = `ALTER TABLE deploys ADD COLUMN settles_at INTEGER`

/** 4: the messages in which chats follow deploys, and what waits for somebody to approve it. */
const FOURTH = `
  CREATE TABLE chat_messages (
    deploy TEXT NOT NULL PRIMARY KEY,
    chat TEXT NOT NULL,
    origin TEXT NOT NULL,
    place TEXT NOT NULL, -- where it is edited, in the platform's own terms
    seq INTEGER NOT NULL,
    shown_at INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    due_at INTEGER,
    ended_at INTEGER
  ) WITHOUT ROWID;
  CREATE TABLE chat_approvals (
    deploy TEXT NOT NULL PRIMARY KEY, -- the id that it will have
    chat TEXT NOT NULL,
    stack TEXT NOT NULL,
    lines TEXT NOT NULL,
    request TEXT, -- as the platform sent it; gone when it is decided
    expires_at INTEGER NOT NULL,
    verdict TEXT
  ) WITHOUT ROWID`

const VERSION = 4

/** The part of the object's storage that is needed here. */
interface Tables {
  readonly sql: { exec(query: string): unknown }
  transactionSync<T>(work: () => T): T
}

/** Called for an enrolled host only: a stranger's name must leave nothing on the disk. */
export function migrate(storage: Tables, facts: FactStore): void {
  const version = facts.get('schema') ?? 0
  // A newer relay was here, which has added to the tables and taken nothing away.
  if (version >= VERSION) return
  storage.transactionSync(() => {
    storage.sql.exec(FIRST)
    if (version < 2) storage.sql.exec(SECOND)
    if (version < 3) storage.sql.exec(THIRD)
    storage.sql.exec(FOURTH)
    const enrolment = facts.get('enrolment') as Enrolment | { host: string; publicKey: PublicKey } | undefined
    if (enrolment && 'publicKey' in enrolment) {
      const { host, publicKey } = enrolment
      facts.put('enrolment', { host, keys: [{ publicKey, until: null }] })
      // It was written without what today's code reads; the agent says it again with its next hello.
      facts.forget('hello')
    }
    facts.put('schema', VERSION)
  })
}
