// A stack's releases in the journal. They stand alone: what is forgotten of deploys takes none of them along.

import type { DatabaseSync } from 'node:sqlite'
import { Problem, reportOf } from '../../../shared/problems.ts'
import { releaseSchema, type Release, type Releases } from '../../roll/releases/release.ts'
import { jsonOf } from '../../json.ts'

/** More than a configuration may keep (100): of what a fault has left behind, no more than this is read. */
export const RELEASES_LISTED_MAX = 200

// oxlint-disable-next-line typescript/explicit-function-return-type
export function prepareReleases(db: DatabaseSync) {
  return {
    newest: db.prepare(
      'SELECT number, deploy, body FROM releases WHERE stack = ? ORDER BY number DESC LIMIT ?',
    ),
    ofDeploy: db.prepare('SELECT number FROM releases WHERE stack = ? AND deploy = ?'),
    count: db.prepare(
      `INSERT INTO release_numbers (stack, last) VALUES (?, 1)
       ON CONFLICT (stack) DO UPDATE SET last = last + 1 RETURNING last`,
    ),
    add: db.prepare('INSERT INTO releases (stack, number, deploy, body) VALUES (?, ?, ?, ?)'),
    forget: db.prepare('DELETE FROM releases WHERE stack = ? AND number < ?'),
  }
}

/** `onDamaged` hears of each that cannot be read, and is passed over. */
export function storedReleases(
  stack: string,
  statements: ReturnType<typeof prepareReleases>,
  transaction: <T>(work: () => T) => T,
  onDamaged: (message: string) => void,
): Releases {
  const parse = (row: Record<string, unknown>): Release[] => {
    const { number, deploy, body } = row
    const parsed = releaseSchema.safeParse(Object.assign({}, jsonOf(String(body)), { number, deploy }))
    if (parsed.success) return [parsed.data]
    onDamaged(
      `release ${String(number)} of ${stack} is damaged in the journal: the stack cannot be rolled back to it`,
    )
    return []
  }
  const written = <T>(work: () => T): T => {
    try {
      return transaction(work)
    } catch (cause) {
      throw new Problem(
        'journal-unusable',
        `the releases of ${stack} cannot be written: ${reportOf(cause).message}`,
        {
          cause,
          cure: 'make room on the disk of the agent’s data directory',
        },
      )
    }
  }
  return {
    list: () => statements.newest.all(stack, RELEASES_LISTED_MAX).toReversed().flatMap(parse),
    add: ({ deploy, of, ...rest }) =>
      written(() => {
        const known = deploy === null ? undefined : statements.ofDeploy.get(stack, deploy)
        if (known) return Number(known['number'])
        const number = Number(statements.count.get(stack)?.['last'])
        statements.add.run(stack, number, deploy, JSON.stringify({ ...rest, of: of ?? number }))
        return number
      }),
    forgetBefore: (number) => written(() => void statements.forget.run(stack, number)),
  }
}
