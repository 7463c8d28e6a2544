// The journal's tables. What is changed here needs a new number, and a way from the number before.

import type { Format } from './file.ts'

const RELEASES = `
    CREATE TABLE releases (
      stack  TEXT NOT NULL,
      number INTEGER NOT NULL,
      deploy TEXT,
      body   TEXT NOT NULL,
      PRIMARY KEY (stack, number)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX release_of_deploy ON releases (stack, deploy) WHERE deploy IS NOT NULL;
    -- A number means the same release for ever, also after that was forgotten.
    CREATE TABLE release_numbers (stack TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  `

export const FORMAT: Format = {
  /** 2 (2026-11): verified requests in the place of the frames as they came. 3 (2026-11): releases. */
  version: 3,
  upgrades: { 2: RELEASES },
  schema: `
    CREATE TABLE deploys (
      id          TEXT PRIMARY KEY,
      stack       TEXT NOT NULL,
      "trigger"   TEXT NOT NULL,
      actor       TEXT NOT NULL,
      trust       TEXT NOT NULL,
      request     TEXT NOT NULL,
      signed_at   INTEGER,
      expires_at  INTEGER,
      status      TEXT NOT NULL,
      received_at INTEGER NOT NULL,
      finished_at INTEGER,
      acked       INTEGER NOT NULL DEFAULT 0,
      record      TEXT
    ) STRICT;
    CREATE INDEX by_time_of_signing ON deploys (stack, "trigger", signed_at);
    CREATE INDEX hints ON deploys (finished_at) WHERE trust = 'hint';
    CREATE TABLE events (
      deploy TEXT NOT NULL REFERENCES deploys (id),
      seq    INTEGER NOT NULL,
      at     INTEGER NOT NULL,
      body   TEXT NOT NULL,
      PRIMARY KEY (deploy, seq)
    ) STRICT, WITHOUT ROWID;
    ${RELEASES}
  `,
}
