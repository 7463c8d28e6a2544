import { expect, test } from 'vitest'
import { countEstablished } from '../../../agent/adapters/proc-net.ts'

// As a kernel prints them: 10.218.136.3:3000 is 0388DA0A:0BB8.
const HEADER =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const line = (remote: string, state: string) =>
  `   1: 0288DA0A:9C42 ${remote} ${state} 00000000:00000000 00:00000000 00000000   101        0 51337 1 0000000000000000 20 4 30 10 -1`
const IP = { ip: '10.218.136.3', port: 3000 }

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
  expect(countEstablished([HEADER, ...lines, ''].join('\n'), IP)).toBe(count)
})
