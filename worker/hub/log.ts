// The hub's log in SQLite: deploys, and the events of each. Rows written are what Cloudflare bills: one an event, and six more a deploy.

import { isFinal, type Deploy, type Status } from '../../shared/deploy.ts'
import type { Trust, AnyRequest } from '../../shared/request.ts'
import type { DeployEvent, LoggedEvent } from '../../shared/events.ts'
import {
  DEPLOYS_KEPT_MAX,
  DEPLOYS_KEPT_MS,
  EVENTS_KEPT_MAX,
  LOGS_KEPT_MAX,
  TRIM_EVERY_DEPLOYS,
} from '../../shared/limits.ts'
import { toldProofSchema, type Proof, type ToldProof } from '../../shared/protocol.ts'
import type { Plan } from '../../shared/plan.ts'
import type { LogPosition, LogRow, Released, Unfinished, Waiting } from './decide.ts'

interface DeployRow extends Record<string, SqlStorageValue> {
  id: string
  host: string
  stack: string
  trigger_name: string
  actor: string
  trust: string
  status: string
  accepted_at: number
  finished_at: number | null
}
const DEPLOY_COLUMNS = 'id, host, stack, trigger_name, actor, trust, status, accepted_at, finished_at'

const toDeploy = (row: DeployRow): Deploy => ({
  id: row.id,
  host: row.host,
  stack: row.stack,
  trigger: row.trigger_name,
  actor: row.actor,
  trust: row.trust as Trust,
  status: row.status as Status,
  acceptedAt: row.accepted_at,
  finishedAt: row.finished_at,
})

interface NewDeploy {
  readonly deploy: Deploy
  readonly event: DeployEvent
  readonly proof: Proof
  readonly expiresAt: number
  readonly settlesAt: number | null
  /** Undefined while there is no agent to offer it to. */
  readonly offeredAt: number | undefined
}

export function insertDeploy(
  sql: SqlStorage,
  { deploy, event, proof, expiresAt, settlesAt, offeredAt }: NewDeploy,
): void {
  sql.exec(
    `INSERT INTO deploys (${DEPLOY_COLUMNS}, proof, expires_at, settles_at, offers, offered_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    deploy.id,
    deploy.host,
    deploy.stack,
    deploy.trigger,
    deploy.actor,
    deploy.trust,
    deploy.status,
    deploy.acceptedAt,
    deploy.finishedAt,
    JSON.stringify(proof),
    expiresAt,
    settlesAt,
    offeredAt === undefined ? 0 : 1,
    offeredAt ?? null,
  )
  insertEvent(sql, deploy.id, { seq: 1, at: deploy.acceptedAt, event, agentSeq: 0 })
}

/** Stores an event. If the log is full, the oldest event after the first is deleted. */
export function insertEvent(sql: SqlStorage, deploy: string, { seq, at, event, agentSeq }: LogRow): void {
  sql.exec(
    'INSERT INTO events (deploy, seq, at, agent_seq, event) VALUES (?, ?, ?, ?, ?)',
    deploy,
    seq,
    at,
    agentSeq,
    JSON.stringify(event),
  )
  if (seq > EVENTS_KEPT_MAX)
    sql.exec(
      'DELETE FROM events WHERE deploy = ? AND seq > 1 AND seq <= ?',
      deploy,
      seq - EVENTS_KEPT_MAX + 1,
    )
}

/** Stores a deploy's new status. A final one deletes its proof, which is not needed any more, and now and then what is too old to keep. */
export function setStatus(sql: SqlStorage, deploy: string, status: Status, now: number): void {
  if (!isFinal(status)) {
    sql.exec('UPDATE deploys SET status = ? WHERE id = ?', status, deploy)
    // The hub may have guessed that it was over. This is a statement of its own, since it costs two rows of the index.
    sql.exec('UPDATE deploys SET finished_at = NULL WHERE id = ? AND finished_at IS NOT NULL', deploy)
    return
  }
  sql.exec('UPDATE deploys SET status = ?, finished_at = ?, proof = NULL WHERE id = ?', status, now, deploy)
  const { n } = sql.exec<{ n: number }>('SELECT n FROM deploys WHERE id = ?', deploy).one()
  if (n % TRIM_EVERY_DEPLOYS === 0) trim(sql, now)
}

const OLDEST_AFTER = `SELECT id FROM deploys WHERE finished_at IS NOT NULL ORDER BY n DESC LIMIT -1 OFFSET`

function trim(sql: SqlStorage, now: number): void {
  sql.exec(
    `DELETE FROM events WHERE deploy IN (${OLDEST_AFTER} ?)
     AND seq > 1 AND seq < (SELECT max(seq) FROM events AS all_of WHERE all_of.deploy = events.deploy)`,
    LOGS_KEPT_MAX,
  )
  const forgotten = sql.exec<{ id: string }>(
    `SELECT id FROM deploys WHERE finished_at < ? OR id IN (${OLDEST_AFTER} ?)`,
    now - DEPLOYS_KEPT_MS,
    DEPLOYS_KEPT_MAX,
  )
  for (const { id } of forgotten.toArray()) {
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

/** What the agent must still do or finish, oldest first. `broken`: the ids of requests that nobody could deliver. */
export function listUnfinished(sql: SqlStorage): { unfinished: Unfinished[]; broken: string[] } {
  const rows = sql.exec<DeployRow & { proof: string | null }>(
    `SELECT ${DEPLOY_COLUMNS}, proof FROM deploys WHERE finished_at IS NULL ORDER BY n`,
  )
  const unfinished: Unfinished[] = []
  const broken: string[] = []
  for (const row of rows.toArray()) {
    const proof = readProof(row.proof)
    if (proof) unfinished.push({ deploy: toDeploy(row), proof })
    // A deploy that runs is in the agent's journal and needs no delivery.
    else if (row.status === 'queued') broken.push(row.id)
  }
  return { unfinished, broken }
}

// One row that cannot be read must not keep the others from the agent.
function readProof(text: string | null): ToldProof | undefined {
  try {
    return toldProofSchema.safeParse(JSON.parse(text ?? '')).data
  } catch {
    return undefined
  }
}

/** The number of deploys that are not over, and those that the agent has not acknowledged, oldest first. Its first event of a deploy is event 2. */
export function listPending(sql: SqlStorage): { count: number; waiting: Waiting[] } {
  const rows = sql
    .exec<{
      id: string
      stack: string
      trigger_name: string
      trust: string
      accepted_at: number
      offers: number
      offered_at: number | null
      settles_at: number | null
      expires_at: number
      accepted: string | null
      is_received: number
    }>(
      `SELECT id, stack, trigger_name, trust, accepted_at, offers, offered_at, settles_at, expires_at,
       (SELECT event FROM events WHERE deploy = id AND seq = 1) AS accepted,
       EXISTS (SELECT 1 FROM events WHERE deploy = id AND seq = 2) AS is_received
       FROM deploys WHERE finished_at IS NULL ORDER BY n`,
    )
    .toArray()
  const waiting = rows
    .filter((row) => row.is_received === 0)
    .map((row) => ({
      id: row.id,
      stack: row.stack,
      trigger: row.trigger_name,
      trust: row.trust as Trust,
      request: requestOf(readEvent(row.accepted)),
      acceptedAt: row.accepted_at,
      offers: row.offers,
      offeredAt: row.offered_at,
      settlesAt: row.settles_at,
      expiresAt: row.expires_at,
    }))
  return { count: rows.length, waiting }
}

/** What a deploy's first event says was asked for. */
export function requestOf(first: DeployEvent | undefined): AnyRequest {
  if (first?.type !== 'accepted') return {}
  const { type: _, stack: _stack, trigger: _trigger, actor: _actor, trust: _trust, ...request } = first
  return request as AnyRequest
}

function readEvent(text: string | null): DeployEvent | undefined {
  try {
    return JSON.parse(text ?? '') as DeployEvent
  } catch {
    return undefined
  }
}

/** One more event of a push has come, so the deploy waits longer. */
export function postpone(
  sql: SqlStorage,
  deploy: string,
  { settlesAt, expiresAt }: { settlesAt: number; expiresAt: number },
): void {
  sql.exec('UPDATE deploys SET settles_at = ?, expires_at = ? WHERE id = ?', settlesAt, expiresAt, deploy)
}

export function markOffered(sql: SqlStorage, deploy: string, now: number): void {
  sql.exec('UPDATE deploys SET offers = offers + 1, offered_at = ? WHERE id = ?', now, deploy)
}

/** Whether it was ever offered to an agent. If not, the hub alone has it. */
export function wasOffered(sql: SqlStorage, deploy: string): boolean {
  const [row] = sql.exec<{ offers: number }>('SELECT offers FROM deploys WHERE id = ?', deploy)
  return row !== undefined && row.offers > 0
}

/** A stack's deploys that succeeded, newest first: the order in which they ended. Bounded by what is kept. */
export function listReleased(sql: SqlStorage, stack: string): Released[] {
  const rows = sql.exec<{ id: string; actor: string; finished_at: number; first: string; last: string }>(
    `SELECT id, actor, finished_at, a.event AS first, z.event AS last FROM deploys
     JOIN events AS a ON a.deploy = id AND a.seq = 1
     JOIN events AS z ON z.deploy = id AND z.seq = (SELECT max(seq) FROM events WHERE deploy = id)
     WHERE stack = ? AND status = 'succeeded' ORDER BY finished_at DESC, n DESC`,
    stack,
  )
  return rows.toArray().flatMap((row) => {
    const [first, outcome] = [JSON.parse(row.first) as DeployEvent, JSON.parse(row.last) as DeployEvent]
    if (outcome.type !== 'succeeded') return []
    const reason = first.type === 'accepted' ? first.reason : undefined
    return [{ deploy: row.id, at: row.finished_at, actor: row.actor, reason, outcome }]
  })
}

/** A deploy's last plan, if that is still kept. */
export function findPlan(sql: SqlStorage, deploy: string): { at: number; plan: Plan } | undefined {
  const [row] = sql.exec<{ at: number; event: string }>(
    `SELECT at, event FROM events WHERE deploy = ? AND event LIKE '{"type":"planned"%' ORDER BY seq DESC LIMIT 1`,
    deploy,
  )
  const event = row && (JSON.parse(row.event) as DeployEvent)
  return row && event?.type === 'planned' ? { at: row.at, plan: event.plan } : undefined
}

export function findPosition(sql: SqlStorage, deploy: string): LogPosition | undefined {
  const [row] = sql.exec<{ status: string; seq: number; agent_seq: number }>(
    `SELECT status, seq, agent_seq FROM deploys JOIN events ON deploy = id WHERE id = ? ORDER BY seq DESC LIMIT 1`,
    deploy,
  )
  return row && { status: row.status as Status, seq: row.seq, agentSeq: row.agent_seq }
}

/** The events of a deploy after a `seq`, in order, as far as they are kept. */
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
