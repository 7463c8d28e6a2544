// The page for people, in a real browser: it follows a deploy by a session, and the token is seen by nobody but the session's route.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { startRelayProcess, type RelayProcess } from '../support/relay-process.ts'
import { ROLL, TestHost, type AgentSocket } from '../support/relay.ts'
import { Chromium } from './chromium.ts'

let dataDir: string
let relay: RelayProcess
let host: TestHost
let agent: AgentSocket
let browser: Chromium
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'ropeway-browser-'))
  relay = await startRelayProcess(dataDir)
  host = await TestHost.enrolled({ url: relay.url } as Relay)
  agent = await host.agent()
  browser = await Chromium.start()
  // The browser may have to be installed first.
}, 600_000)
afterAll(async () => {
  await browser?.stop()
  await agent?.close()
  await relay?.stop()
  await rm(dataDir, { recursive: true })
})

const LINES = `[...document.querySelectorAll('#events li')].map((line) => line.innerText.replaceAll('\\n', ' ')).join('\\n')`
const STATUS = `document.getElementById('status').textContent`
const lines = (count: number) =>
  browser.shows(LINES, (text) => text !== '' && text.split('\n').length === count)

async function newDeploy(reason: string): Promise<string> {
  await host.hook(JSON.stringify({ reason }))
  return (await agent.nextDeploy()).id
}

async function report(deploy: string, seq: number, ...events: typeof ROLL): Promise<void> {
  agent.report(deploy, seq, ...events)
  expect(await agent.next()).toMatchObject({ type: 'stored', deploy, seq: seq + events.length - 1 })
}

/** The token is nowhere but in the Authorization of the requests for a session. */
async function expectHidden(token: string): Promise<void> {
  const inPage = await browser.evaluate(`({
    address: location.href,
    cookies: document.cookie,
    text: document.documentElement.outerHTML,
    fields: [...document.querySelectorAll('input')].map((input) => input.value).join(' '),
    stored: JSON.stringify([{ ...localStorage }, { ...sessionStorage }, history.state]),
    fetched: performance.getEntriesByType('resource').map((entry) => entry.name).join(' '),
  })`)
  const places: [string, string][] = [...Object.entries<string>(inPage), ['log of the relay', relay.log()]]
  for (const { method, url, headers } of browser.sent) {
    places.push(['requested address', url])
    for (const [name, value] of Object.entries(headers))
      places.push([`${name} of ${method} ${new URL(url).pathname}`, value])
  }
  const signature = token.split('.')[2]!
  const found = places.filter(([, text]) => text.includes(signature)).map(([place]) => place)
  expect(new Set(found)).toEqual(new Set([`authorization of POST /v1/hosts/${host.name}/session`]))
}

test('with a token in the fragment, the events come live, to the outcome', async () => {
  const deploy = await newDeploy('<b>bold</b>')
  await report(deploy, 1, ...ROLL.slice(0, 2))
  const token = await host.token(['read'])
  await browser.open(`${relay.url}/watch#host=${host.name}&deploy=${deploy}&token=${token}`)

  const early = await lines(3)
  expect(early).toMatch(/accepted .*actor deploy, trust signed, reason <b>bold<\/b>/)
  expect(await browser.evaluate(STATUS)).toBe('running')
  expect(await browser.evaluate(`document.querySelectorAll('#events b').length`)).toBe(0)
  for (const [i, event] of ROLL.slice(2).entries()) {
    await report(deploy, i + 3, event)
    expect(await lines(i + 4)).toContain(event.type)
  }
  expect(await lines(ROLL.length + 1)).toMatch(/succeeded app2 hello:v2, 0\.04 s$/)
  expect(await browser.evaluate(STATUS)).toBe('succeeded')
  expect(await browser.evaluate('document.title')).toBe('succeeded – Ropeway')

  expect(await browser.evaluate('location.href')).toBe(
    `${relay.url}/watch#host=${host.name}&deploy=${deploy}`,
  )
  expect(await browser.evaluate('document.cookie')).toBe('')
  expect(await browser.cookies()).toMatchObject([
    { name: `ropeway-${host.name}`, httpOnly: true, sameSite: 'Strict', path: `/v1/hosts/${host.name}/` },
  ])
  await expectHidden(token)
  const stream = browser.sent.find(({ url }) => url.endsWith('/events'))
  expect(Object.keys(stream?.headers ?? {})).not.toContain('authorization')
  expect(browser.complaints).toEqual([])
})

test('opened again it needs no token while the session lasts, and asks for one when it has ended', async () => {
  const deploy = await newDeploy('again')
  await browser.open('about:blank')
  await browser.open(`${relay.url}/watch#host=${host.name}&deploy=${deploy}`)
  expect(await lines(1)).toContain('reason again')

  await browser.clearCookies()
  await browser.open('about:blank')
  await browser.open(`${relay.url}/watch#host=${host.name}&deploy=${deploy}`)
  await browser.shows(`document.getElementById('form').hidden`, (hidden) => hidden === 'false')
  const token = await host.token(['read'])
  await browser.evaluate(
    `document.getElementById('token').value = ${JSON.stringify(token)}; document.querySelector('button').click()`,
  )
  expect(await lines(1)).toContain('reason again')
  await report(deploy, 1, { type: 'received' }, { type: 'cancelled' })
  expect(await lines(3)).toMatch(/cancelled$/)
  await expectHidden(token)
})

test('a session that ends while the page is open is made again, and no event is drawn twice', async () => {
  const deploy = await newDeploy('long')
  await browser.open('about:blank')
  await browser.open(
    `${relay.url}/watch#host=${host.name}&deploy=${deploy}&token=${await host.token(['read'])}`,
  )
  await lines(1)
  await browser.clearCookies()
  const before = browser.sent.length
  // The stream breaks; the browser comes back without a session, is refused, and gives up.
  await relay.stop()
  await agent.closed()
  relay = await startRelayProcess(dataDir, new URL(relay.url).port)
  agent = await host.agent()
  expect((await agent.nextDeploy()).id).toBe(deploy)
  await report(deploy, 1, { type: 'received' }, { type: 'cancelled' })
  expect(await lines(3)).toMatch(/accepted[^]*received[^]*cancelled/)
  expect(await browser.evaluate(STATUS)).toBe('cancelled')
  expect(browser.sent.slice(before).map(({ url }) => new URL(url).pathname)).toContain(
    `/v1/hosts/${host.name}/session`,
  )
})

test('a token that is not good is asked for again', async () => {
  const deploy = await newDeploy('refused')
  await browser.clearCookies()
  const token = await (await TestHost.unknown({ url: relay.url } as Relay)).token(['read'])
  await browser.open('about:blank')
  await browser.open(`${relay.url}/watch#host=${host.name}&deploy=${deploy}&token=${token}`)
  await browser.shows(`document.getElementById('form').hidden`, (hidden) => hidden === 'false')
  expect(await browser.evaluate(LINES)).toBe('')
  await expectHidden(token)
})

test('no other page may frame it', async () => {
  const { headers } = await fetch(`${relay.url}/watch`)
  const policy = headers.get('content-security-policy') ?? ''
  for (const part of [
    "default-src 'none'",
    "frame-ancestors 'none'",
    "form-action 'none'",
    "base-uri 'none'",
  ])
    expect(policy).toContain(part)
  expect(policy).not.toContain('unsafe')
  expect(headers.get('referrer-policy')).toBe('no-referrer')
})
