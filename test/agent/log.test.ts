import { expect, test } from 'vitest'
import { limited } from '../../agent/log.ts'

test('what a relay causes is told sixty times a minute, and then how often it was not', () => {
  let now = 0
  const lines: string[] = []
  const log = limited(
    (level, message) => lines.push(`${level}: ${message}`),
    () => now,
  )
  for (let n = 0; n < 1000; n += 1) log('info', String(n))
  expect(lines).toHaveLength(60)
  now = 60_000
  log('warn', 'next')
  expect(lines.slice(60)).toEqual(['warn: 940 more lines of this kind were left out', 'warn: next'])
  now = 120_000
  log('warn', 'alone')
  expect(lines.slice(62)).toEqual(['warn: alone'])
})
