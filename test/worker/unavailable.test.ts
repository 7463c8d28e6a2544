// A hub that cannot store: the sender is told to come again, and neither answer nor log says what was in the request.

import { expect, test, vi } from 'vitest'

interface App {
  request(path: string, init: RequestInit, env: object): Promise<Response>
}
// By a name that the compiler does not follow: the Worker's types are not Node's.
const module = '../../worker/app.ts'
const { app } = (await import(module)) as { app: App }

const fails = () => Promise.reject(new Error('SQLITE_FULL while storing {"env":{"A":"private"}}'))
const env = { HUB: { getByName: () => ({ hook: fails, deploy: fails, read: fails, fetch: fails }) } }
const headers = { 'content-type': 'application/json', authorization: 'Bearer private.token.text' }

test.each([
  ['POST', '/hooks/vps-1/hello/deploy'],
  ['POST', '/v1/hosts/vps-1/stacks/hello/deploys'],
  ['GET', '/v1/hosts/vps-1'],
  ['GET', '/v1/hosts/vps-1/deploys/0000000000000000/events'],
])('%s %s', async (method, path) => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {})
  const body = method === 'POST' ? { body: '{"env":{"A":"private"}}' } : {}
  const answer = await app.request(path, { method, headers, ...body }, env)
  expect(answer.status).toBe(503)
  expect(answer.headers.get('retry-after')).toBe('5')
  expect(await answer.json()).toMatchObject({ error: { code: 'relay-unavailable' } })
  expect(log.mock.calls.length).toBe(1)
  expect(JSON.stringify(log.mock.calls)).not.toContain('private')
  log.mockRestore()
})
