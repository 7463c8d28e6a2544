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

const NOTICES = `
    -- What others are told, from the moment that it is an event: sent, given up, or still to be sent.
    CREATE TABLE notices (
      number      INTEGER PRIMARY KEY AUTOINCREMENT,
      stack       TEXT NOT NULL,
      destination TEXT NOT NULL,
      deploy      TEXT NOT NULL,
      moment      TEXT NOT NULL,
      at          INTEGER NOT NULL,
      body        TEXT NOT NULL,
      tries       INTEGER NOT NULL DEFAULT 0,
      next_at     INTEGER NOT NULL DEFAULT 0,
      fault       TEXT,
      outcome     TEXT,
      ended_at    INTEGER,
      -- A roll that a crash interrupted, and that begins again, is told once.
      UNIQUE (stack, destination, deploy, moment)
    ) STRICT;
    CREATE INDEX waiting_notices ON notices (stack, destination, number) WHERE outcome IS NULL;
  `

/** What a roll is about, kept once; `record` says how far it has come. */
const FACTS = `
    ALTER TABLE deploys ADD COLUMN facts TEXT;
  `

export const FORMAT: Format = {
  /**
   * 2 (2026-11): verified requests in the place of the frames as they came. 3 (2026-11): releases. 4 (2026-11): notices. 5 (2026-11): what a roll is
   * about, apart from how far it has come.
   */
  version: 5,
  upgrades: { 2: RELEASES + NOTICES + FACTS, 3: NOTICES + FACTS, 4: FACTS },
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
      record      TEXT,
      facts       TEXT
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
    ${NOTICES}
  `,
}
