// A relay that is redeployed over what an older one has stored.

import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { FactStore } from '../../worker/hub/facts.ts'
import { migrate } from '../../worker/hub/schema.ts'

/** As the first hub made them (0.1.0). */
const FIRST_TABLES = `
  CREATE TABLE deploys (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, host TEXT NOT NULL, stack TEXT NOT NULL,
    trigger_name TEXT NOT NULL, actor TEXT NOT NULL, status TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    finished_at INTEGER, proof TEXT);
  CREATE TABLE events (deploy TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, agent_seq INTEGER NOT NULL,
    event TEXT NOT NULL, PRIMARY KEY (deploy, seq)) WITHOUT ROWID;
  INSERT INTO deploys VALUES (1, 'a', 'h', 's', 't', 'x', 'queued', 5, NULL, '{}');
  INSERT INTO events VALUES ('a', 1, 5, 0, '{"type":"received"}')`

function storage(facts: Record<string, unknown> = {}, db = new DatabaseSync(':memory:')) {
  const kept = new Map<string, unknown>(Object.entries(facts))
  const tables = {
    sql: { exec: (query: string) => db.exec(query) },
    transactionSync: <T>(work: () => T) => work(),
  }
  const store = new FactStore({
    get: <T>(key: string) => kept.get(key) as T | undefined,
    put: (key, value) => void kept.set(key, value),
    delete: (key) => kept.delete(key),
  })
  const columns = (table: string) =>
    db
      .prepare(`SELECT name FROM pragma_table_info('${table}')`)
      .all()
      .map((row) => row['name'])
  return { db, kept, columns, migrate: () => migrate(tables, store) }
}

test('what an older hub has stored is kept, and looks as if today’s had stored it', () => {
  const publicKey = { kty: 'OKP', crv: 'Ed25519', x: 'x' }
  const old = storage({ enrolment: { host: 'h', publicKey }, hello: { secrets: 'of another form' } })
  old.db.exec(FIRST_TABLES)
  old.migrate()
  const fresh = storage()
  fresh.migrate()
  for (const table of ['deploys', 'events', 'keys_used', 'stale_requests', 'chat_messages', 'chat_approvals'])
    expect(old.columns(table)).toEqual(fresh.columns(table))
  expect(old.db.prepare('SELECT id, trust, offers, offered_at FROM deploys').get()).toMatchObject({
    id: 'a',
    trust: 'signed',
    offers: 0,
    offered_at: null,
  })
  expect(old.db.prepare('SELECT count(*) AS n FROM events').get()).toMatchObject({ n: 1 })
  expect(old.kept.get('enrolment')).toEqual({ host: 'h', keys: [{ publicKey, until: null }] })
  expect(old.kept.has('hello')).toBe(false)
})

test('what a newer hub has added to stays as it is, and today’s goes on with it', () => {
  const hub = storage()
  hub.migrate()
  hub.db.exec('ALTER TABLE deploys ADD COLUMN newer TEXT; CREATE TABLE newer (id TEXT)')
  const schema = Number(hub.kept.get('schema')) + 1
  const older = storage({ schema }, hub.db)
  older.migrate()
  expect(older.kept.get('schema')).toBe(schema)
  expect(older.columns('deploys')).toContain('newer')
})

test('it is done once', () => {
  const hub = storage()
  hub.migrate()
  hub.db.exec(FIRST_TABLES.slice(FIRST_TABLES.indexOf('INSERT INTO events')))
  hub.migrate()
  expect(hub.db.prepare('SELECT count(*) AS n FROM events').get()).toMatchObject({ n: 1 })
})
