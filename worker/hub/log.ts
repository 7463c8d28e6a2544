// The hub's log in SQLite: deploys, and the events of each. Rows written are what Cloudflare bills: one an event, two more a deploy.

import { isFinal, type Deploy, type Status } from '../../shared/deploy.ts'
import type { DeployEvent, LoggedEvent } from '../../shared/events.ts'
import { DEPLOYS_KEPT_MAX } from '../../shared/limits.ts'
import type { Proof } from '../../shared/protocol.ts'
import type { LogRow, Place, Unfinished } from './decide.ts'

/** `n` is the order of acceptance, which two requests in one millisecond would not have by their times. */
const SCHEMA = `
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

/** Called for an enrolled host only: a stranger's name must leave nothing on the disk. */
export function createTables(sql: SqlStorage): void {
  sql.exec(SCHEMA)
}

interface DeployRow extends Record<string, SqlStorageValue> {
  id: string
  host: string
  stack: string
  trigger_name: string
  actor: string
  status: string
  accepted_at: number
  finished_at: number | null
}
const DEPLOY_COLUMNS = 'id, host, stack, trigger_name, actor, status, accepted_at, finished_at'

const toDeploy = (row: DeployRow): Deploy => ({
  id: row.id,
  host: row.host,
  stack: row.stack,
  trigger: row.trigger_name,
  actor: row.actor,
  status: row.status as Status,
  acceptedAt: row.accepted_at,
  finishedAt: row.finished_at,
})

export function insertDeploy(sql: SqlStorage, deploy: Deploy, proof: Proof, event: DeployEvent): void {
  sql.exec(
    `INSERT INTO deploys (${DEPLOY_COLUMNS}, proof) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    deploy.id,
    deploy.host,
    deploy.stack,
    deploy.trigger,
    deploy.actor,
    deploy.status,
    deploy.acceptedAt,
    deploy.finishedAt,
    JSON.stringify(proof),
  )
  insertEvent(sql, deploy.id, { seq: 1, at: deploy.acceptedAt, event, agentSeq: 0 })
}

export function insertEvent(sql: SqlStorage, deploy: string, { seq, at, event, agentSeq }: LogRow): void {
  sql.exec(
    'INSERT INTO events (deploy, seq, at, agent_seq, event) VALUES (?, ?, ?, ?, ?)',
    deploy,
    seq,
    at,
    agentSeq,
    JSON.stringify(event),
  )
}

/** Stores a deploy's new status; when it is final, what only an unfinished deploy needs goes, and so do the oldest deploys. */
export function setStatus(sql: SqlStorage, deploy: string, status: Status, now: number): void {
  if (!isFinal(status)) {
    sql.exec('UPDATE deploys SET status = ? WHERE id = ?', status, deploy)
    return
  }
  sql.exec('UPDATE deploys SET status = ?, finished_at = ?, proof = NULL WHERE id = ?', status, now, deploy)
  const old = sql.exec<{ id: string }>(
    'SELECT id FROM deploys WHERE finished_at IS NOT NULL ORDER BY n DESC LIMIT -1 OFFSET ?',
    DEPLOYS_KEPT_MAX,
  )
  for (const { id } of old.toArray()) {
    sql.exec('DELETE FROM events WHERE deploy = ?', id)
    sql.exec('DELETE FROM deploys WHERE id = ?', id)
  }
}

export function findDeploy(sql: SqlStorage, id: string): Deploy | undefined {
  const [row] = sql.exec<DeployRow>(`SELECT ${DEPLOY_COLUMNS} FROM deploys WHERE id = ?`, id)
  return row && toDeploy(row)
}

/** Newest first. `stacks` undefined means all of the host. */
export function listDeploys(sql: SqlStorage, stacks: readonly string[] | undefined, limit: number): Deploy[] {
  const rows = sql.exec<DeployRow>(
    `SELECT ${DEPLOY_COLUMNS} FROM deploys WHERE ?1 IS NULL OR stack IN (SELECT value FROM json_each(?1)) ORDER BY n DESC LIMIT ?2`,
    stacks === undefined ? null : JSON.stringify(stacks),
    limit,
  )
  return rows.toArray().map(toDeploy)
}

/** What the agent must still do or finish, oldest first. */
export function listUnfinished(sql: SqlStorage): Unfinished[] {
  const rows = sql.exec<DeployRow & { proof: string }>(
    `SELECT ${DEPLOY_COLUMNS}, proof FROM deploys WHERE finished_at IS NULL ORDER BY n`,
  )
  return rows.toArray().map((row) => ({ deploy: toDeploy(row), proof: JSON.parse(row.proof) as Proof }))
}

export function findPlace(sql: SqlStorage, deploy: string): Place | undefined {
  const [row] = sql.exec<{ status: string; seq: number; agent_seq: number }>(
    `SELECT status, seq, agent_seq FROM deploys JOIN events ON deploy = id WHERE id = ? ORDER BY seq DESC LIMIT 1`,
    deploy,
  )
  return row && { status: row.status as Status, seq: row.seq, agentSeq: row.agent_seq }
}

/** The events of a deploy after a `seq`, in order. */
export function listEvents(sql: SqlStorage, deploy: string, after: number): LoggedEvent[] {
  const rows = sql.exec<{ seq: number; at: number; event: string }>(
    'SELECT seq, at, event FROM events WHERE deploy = ? AND seq > ? ORDER BY seq',
    deploy,
    after,
  )
  return rows.toArray().map(({ seq, at, event }) => ({ seq, at, event: JSON.parse(event) as DeployEvent }))
}

/** The event at one end of a deploy's log. */
export function edgeEvent(sql: SqlStorage, deploy: string, edge: 'first' | 'last'): DeployEvent | undefined {
  const [row] = sql.exec<{ event: string }>(
    `SELECT event FROM events WHERE deploy = ? ORDER BY seq ${edge === 'first' ? 'ASC' : 'DESC'} LIMIT 1`,
    deploy,
  )
  return row && (JSON.parse(row.event) as DeployEvent)
}
