import { expect, test } from 'vitest'
import { askedByHealthcheck, verdictMs } from '../../../agent/roll/gates/healthcheck.ts'
import type { Container, Healthcheck } from '../../../agent/ports.ts'

const TIMES = { intervalMs: 0, timeoutMs: 0, retries: 0, startPeriodMs: 0, startIntervalMs: 0 }
const withCheck = (healthcheck: Healthcheck | undefined, env = {}) => ({ healthcheck, env }) as Container

test.each<[string[], string | undefined]>([
  [['CMD', 'curl', '-f', 'http://localhost:8000/healthz'], '/healthz at localhost:8000'],
  [['CMD-SHELL', 'curl -f http://127.0.0.1/up?full=1 || exit 1'], '/up?full=1 at 127.0.0.1'],
  [['CMD-SHELL', 'wget -qO- localhost:3000/ >/dev/null'], '/ at localhost:3000'],
  [['CMD', 'wget', '--spider', 'http://[::1]:3000'], '/ at [::1]:3000'],
  [
    ['CMD', 'node', '-e', "fetch('http://localhost:3000/api/health').then(ok)"],
    '/api/health at localhost:3000',
  ],
  [['CMD-SHELL', 'curl -f "http://localhost:${PORT}/ready"'], '/ready at localhost:9000'],
  [['CMD-SHELL', 'curl -f http://localhost:${OTHER:-81}$BASE/x'], '/base/x at localhost:81'],
  [['CMD', 'curl', 'http://localhost/zdravé%20x'], '/zdrav%C3%A9%20x at localhost'],
  [['CMD', 'curl', '-H', 'Host: shop.example', 'http://localhost/up'], '/up at shop.example'],
  [['CMD', 'curl', 'https://status.example/up'], undefined],
  [['CMD', 'pg_isready'], undefined],
  [['NONE'], undefined],
])('%j asks for %s', (words, asked) => {
  const found = askedByHealthcheck(withCheck({ ...TIMES, test: words }, { PORT: '9000', BASE: '/base' }))
  expect(found && `${found.path} at ${found.host}`).toBe(asked)
})

test.each<[string, Healthcheck | undefined, number]>([
  ['none', undefined, 0],
  [
    'Docker’s own times',
    { ...TIMES, test: ['CMD', 'x'], intervalMs: 30_000, timeoutMs: 30_000, retries: 3 },
    185_000,
  ],
  [
    'times of its own',
    { ...TIMES, test: ['CMD', 'x'], intervalMs: 90_000, timeoutMs: 1000, retries: 1, startPeriodMs: 10_000 },
    106_000,
  ],
])('a verdict of %s', (_, healthcheck, ms) => {
  expect(verdictMs(withCheck(healthcheck))).toBe(ms)
})
