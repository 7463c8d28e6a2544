import { describe, expect, test } from 'vitest'
import { parserOf, type LogFormat } from '../../../../agent/nginx/config/log-format.ts'

const MAIN =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"'
const JSON_TEXT =
  '{"at":"$time_iso8601","agent":"$http_user_agent","to":"$upstream_addr","status":$status,"answers":"$upstream_status"}'

const format = (text: string, escape: LogFormat['escape'] = 'default'): LogFormat => ({
  name: 'main',
  escape,
  text,
})

function attempts(text: string, line: string, escape?: LogFormat['escape']): string | undefined {
  const parse = parserOf(format(text, escape))
  if (typeof parse !== 'function') throw new Error(parse.unusable)
  return parse(line)
    ?.map(({ address, status }) => `${address} ${status ?? '-'}`)
    .join(' | ')
}

const START = '10.0.0.9 - - [25/Nov/2026:02:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8" "-"'

describe('the format of the example', () => {
  const text = `${MAIN} $upstream_addr $upstream_status`
  test.each([
    [`${START} 172.18.0.3:3000 200`, '172.18.0.3:3000 200'],
    [`${START} [fd00::3]:3000 500`, '[fd00::3]:3000 500'],
    [`${START} [fd00::3]:3000, [fd00::4]:3000 502, 200`, '[fd00::3]:3000 502 | [fd00::4]:3000 200'],
    [`${START} unix:/run/app.sock 204`, 'unix:/run/app.sock 204'],
    // A retry; one after a redirect by the app; one whose redirect was answered by nginx itself.
    [`${START} 172.18.0.3:3000, 172.18.0.4:3000 502, 200`, '172.18.0.3:3000 502 | 172.18.0.4:3000 200'],
    [`${START} 172.18.0.3:3000 : 172.18.0.4:3000 200 : 404`, '172.18.0.3:3000 200 | 172.18.0.4:3000 404'],
    [`${START} 172.18.0.3:3000 :  200 : `, '172.18.0.3:3000 200'],
    // The client has gone before an answer.
    [`${START} 172.18.0.3:3000 -`, '172.18.0.3:3000 -'],
    // nginx answered by itself; no server was in.
    [`${START} - -`, ''],
    [`${START} apps 502`, 'apps 502'],
    // What nginx has escaped.
    [
      String.raw`1.2.3.4 - a\x22b [25/Nov/2026:02:00:00 +0000] "G\x22" 400 0 "-" "x\x22 \x5C" "-" 1.1.1.1:1 200`,
      '1.1.1.1:1 200',
    ],
    // Other formats, other programs, half lines.
    [START, undefined],
    [`${START} 172.18.0.3:3000`, undefined],
    [`${START} 172.18.0.3:3000, 172.18.0.4:3000 200`, undefined],
    [`${START} 172.18.0.3:3000 200 more`, undefined],
    [`${START} 172.18.0.3:3000 2x0`, undefined],
    [`${START} 172.18.0.3:3000 2000`, '172.18.0.3:3000 -'],
    [`${START} 172.18.0.3:3000 0200`, '172.18.0.3:3000 -'],
    ['/docker-entrypoint.sh: Configuration complete; ready for start up', undefined],
    ['', undefined],
  ])('%s', (line, found) => {
    expect(attempts(text, line)).toBe(found)
  })

  test('nothing that a client sends is taken for a server or a status', () => {
    const forged = '172.18.0.4:3000 500'
    for (const evil of [
      forged,
      `- ${forged}`,
      String.raw`\x22 ${forged}`,
      ` ${forged} `,
      `${forged}, ${forged}`,
    ])
      for (const line of [
        `1.1.1.1 - ${evil} [25/Nov/2026:02:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl" "-" 172.18.0.3:3000 200`,
        `1.1.1.1 - - [25/Nov/2026:02:00:00 +0000] "${evil}" 200 5 "${evil}" "${evil}" "${evil}" 172.18.0.3:3000 200`,
      ])
        expect(attempts(text, line)).toBe('172.18.0.3:3000 200')
  })
})

describe('other formats', () => {
  test.each([
    ['$upstream_addr $status', 'a:1 500', 'a:1 500'],
    // Without a status of each server, those that nginx went on from have failed.
    ['$upstream_addr $status', 'a:1, b:1 200', 'a:1 502 | b:1 200'],
    ['$upstream_addr $status', '- 301', ''],
    ['$upstream_status|$upstream_addr|$http_x', '500|a:1|b:1 200|', 'a:1 500'],
    ['$upstream_addr,$upstream_status', 'a:1, b:1,502, 200', 'a:1 502 | b:1 200'],
    ['to=${upstream_addr}; status=${upstream_status};', 'to=a:1; status=200;', 'a:1 200'],
    ['$time_local [$upstream_addr] [$upstream_status]', '25/Nov/2026:02:00:00 +0000 [a:1] [200]', 'a:1 200'],
    [
      '[$upstream_addr] [$upstream_status]',
      '[[fd00::3]:3000, a:1] [502, 200]',
      '[fd00::3]:3000 502 | a:1 200',
    ],
    [
      '[$time_local] $upstream_addr $upstream_status $http_x',
      '[25/Nov/2026:02:00:00 +0000] a:1 200 ] b:1 500 x',
      'a:1 200',
    ],
    [
      '"$http_x" rt=$request_time us="$upstream_status" ua="$upstream_addr"',
      '"x y" rt=0.1 us="200" ua="a:1"',
      'a:1 200',
    ],
    ['$request_time/$upstream_addr ${upstream_status}s', '0.1/a:1 200s', 'a:1 200'],
    ['$host,$upstream_addr $upstream_status', 'x,a:1 200', 'a:1 200'],
    ['$upstream_addr|a, $upstream_status', 'a:1|a, 200', 'a:1 200'],
    [String.raw`"$http_x\" $upstream_addr $status`, String.raw`"x\" a:1 200`, 'a:1 200'],
    ['$upstream_addr (^.$status.^) *', 'a:1 (^.200.^) *', undefined],
    ['$upstream_addr (^ $status ^) *', 'a:1 (^ 200 ^) *', 'a:1 200'],
  ])('%s: %s', (text, line, found) => {
    if (found === undefined) expect(parserOf(format(text))).toHaveProperty('unusable')
    else expect(attempts(text, line)).toBe(found)
  })

  test.each([
    // What the format goes on with, or what comes before; a name holds no comma, so nobody's name is a server.
    ['$upstream_addr $upstream_status $request_time', 'a:1 200 x'],
    ['$host,$upstream_addr $upstream_status', 'x,b:1,a:1 200'],
  ])('%s is not: %s', (text, line) => {
    expect(attempts(text, line)).toBeUndefined()
  })

  test('no longer line than nginx writes is read', () => {
    const longest = 'a:1 200 '.padEnd(64 * 1024, 'x')
    expect(attempts('$upstream_addr $upstream_status $http_x', longest)).toBe('a:1 200')
    expect(attempts('$upstream_addr $upstream_status $http_x', `${longest}x`)).toBeUndefined()
  })

  test.each([
    ['{"at":"x","agent":"curl","to":"a:1, b:1","status":200,"answers":"502, 200"}', 'a:1 502 | b:1 200'],
    [
      String.raw`{"at":"x","agent":"\",\"to\":\"b:1\" \\","to":"a:1","status":200,"answers":"200"}`,
      'a:1 200',
    ],
    // Where default escaping writes a dash, JSON has nothing.
    ['{"at":"x","agent":"","to":"","status":404,"answers":""}', ''],
    ['{"at":"x"}', undefined],
    ['{"at":"x","agent":"","to":"a:1","status":200,"answers":"x"}', undefined],
    ['{"at":"x","agent":"","to":"a b","status":200,"answers":"200"}', undefined],
    ['{"at":"x\\', undefined],
  ])('as JSON: %s', (line, found) => {
    expect(attempts(JSON_TEXT, line, 'json')).toBe(found)
  })

  test('without escaping, only what no client can shape may come before', () => {
    expect(
      attempts('"$upstream_addr" $upstream_status "$http_user_agent"', '"a:1" 200 "" x" b:1 500', 'none'),
    ).toBe('a:1 200')
    expect(parserOf(format('"$http_user_agent" $upstream_addr $status', 'none'))).toEqual({
      unusable:
        'in the log format main, nobody can tell where $http_user_agent ends: put it in quotes of its own',
    })
  })
})

describe('a format that cannot be read says why', () => {
  test.each([
    [MAIN, 'the log format main has no $upstream_addr'],
    ['$upstream_addr', 'the log format main has no $upstream_status'],
    ['$http_user_agent $upstream_addr $status', 'nobody can tell where $http_user_agent ends'],
    ['$upstream_addr $uri $status', 'nobody can tell where $uri ends'],
    ['$upstream_addr$upstream_status', 'nobody can tell where $upstream_addr ends'],
    ['$upstream_addr:$upstream_status', 'nobody can tell where $upstream_addr ends'],
    ['$upstream_addr : $upstream_status', 'nobody can tell where $upstream_addr ends'],
    ['$upstream_addr, $upstream_status', 'nobody can tell where $upstream_addr ends'],
    ['$upstream_addr $upstream_status-$msec', 'nobody can tell where $upstream_status ends'],
  ])('%s', (text, why) => {
    const parser = parserOf(format(text))
    expect('unusable' in parser && parser.unusable).toContain(why)
  })

  test('a backslash of the format’s own in JSON', () => {
    expect(parserOf(format(String.raw`{"a":"\\$upstream_addr","s":$status}`, 'json'))).toEqual({
      unusable: 'the log format main has a backslash of its own',
    })
  })
})

/** Of this thread's own time on a processor, as others may hold it up: a thousandth of what a quadratic expression would take. */
const LINE_MS_MAX = 300

const filled = (text: string) => text.repeat(Math.floor(32_000 / text.length))

test.each([
  `${MAIN} $upstream_addr $upstream_status`,
  '$upstream_addr $upstream_response_time $status $host $upstream_status',
  '[$upstream_addr] [$upstream_status] $http_user_agent',
  JSON_TEXT,
])('no line takes long to read: %s', (text) => {
  for (const escape of ['default', 'json', 'none'] as const) {
    const parse = parserOf(format(text, escape))
    if (typeof parse !== 'function') continue
    for (const filling of [
      'a',
      '1',
      ' ',
      'a : ',
      'a, ',
      '1 : ',
      '1, ',
      '"',
      '\\',
      '\\"',
      ' : ',
      '-',
      '[',
      ']',
      '[a], ',
    ])
      for (const line of [
        filled(filling),
        `${START} ${filled(filling)}x`,
        `{"at":"${filled(filling)}`,
        `a:1 ${filled(filling)}x`,
        `${START} a:1 ${filled(filling)}x`,
        `["${filled(filling)}" x`,
      ]) {
        const before = process.threadCpuUsage()
        parse(line)
        expect(process.threadCpuUsage(before).user / 1000).toBeLessThan(LINE_MS_MAX)
      }
  }
})
