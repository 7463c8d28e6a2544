import { expect, test } from 'vitest'
import { countEstablished } from '../../../../agent/adapters/engine/proc-net.ts'

// As a kernel prints them: 10.218.136.3:3000 is 0388DA0A:0BB8.
const HEADER =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const line = (remote: string, state: string) =>
  `   1: 0288DA0A:9C42 ${remote} ${state} 00000000:00000000 00:00000000 00000000   101        0 51337 1 0000000000000000 20 4 30 10 -1`
const V4 = { ip: '10.218.136.3', port: 3000 }
// fd00:12::2 is 120000FD000000000000000002000000.
const V6 = { ip: 'fd00:12::2', port: 3000 }
const FULL = { ip: '2001:db8:1:2:3:4:5:6', port: 80 }

test.each([
  ['nothing', [], 0],
  ['one that is open', [line('0388DA0A:0BB8', '01')], 1],
  ['two', [line('0388DA0A:0BB8', '01'), line('0388DA0A:0BB8', '01')], 2],
  ['one to an IPv4 address in an IPv6 socket', [line('0000000000000000FFFF00000388DA0A:0BB8', '01')], 1],
  ['another port', [line('0388DA0A:0BB9', '01')], 0],
  ['another host', [line('0488DA0A:0BB8', '01')], 0],
  ['one that is only being opened', [line('0388DA0A:0BB8', '02')], 0],
  ['one that is over', [line('0388DA0A:0BB8', '06')], 0],
  ['the local end', ['   1: 0388DA0A:0BB8 0288DA0A:9C42 01 0 0'], 0],
])('%s: %#', (_what, lines, count) => {
  expect(countEstablished([HEADER, ...lines, ''].join('\n'), [V4])).toBe(count)
})

const SIX = line('120000FD000000000000000002000000:0BB8', '01')
const OTHER_SIX = line('B80D0120020001000400030006000500:0050', '01')
const FOUR = line('0388DA0A:0BB8', '01')

test.each([
  ['IPv6', [SIX, FOUR, OTHER_SIX], [V6], 1],
  ['IPv6, no zeros left out', [SIX, FOUR, OTHER_SIX], [FULL], 1],
  ['IPv6 on another port', [SIX], [{ ...V6, port: 3001 }], 0],
  ['IPv6 of another network', [SIX], [{ ...V6, ip: 'fd00:13::2' }], 0],
  ['both families of one server', [SIX, FOUR, FOUR], [V4, V6], 3],
  ['one that is named twice', [SIX], [V6, V6], 1],
  ['nobody', [SIX, FOUR], [], 0],
])('to %s', (_what, lines, remotes, count) => {
  expect(countEstablished([HEADER, ...lines, ''].join('\n'), remotes)).toBe(count)
})
