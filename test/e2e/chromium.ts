// A real browser, driven over the DevTools protocol: one page at a time, and every request that it makes.
// https://chromedevtools.github.io/devtools-protocol/

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { WebSocket } from 'ws'
import { until } from '../support/until.ts'

const START_MS_MAX = 60_000
/** Against hanging only: a browser that was cut off comes back after some seconds, on a busy machine after more. */
const ANSWER_MS_MAX = 60_000
const POLL_MS = 10

/** One page, and none of what a browser asks the network for of its own accord. */
const ARGUMENTS = [
  '--headless=new',
  '--remote-debugging-port=0',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-extensions',
  // Its own sandbox cannot be set up by root; what it opens here is ours.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
]

export interface Sent {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: ReturnType<typeof JSON.parse>
  readonly result?: ReturnType<typeof JSON.parse>
  readonly error?: { readonly message: string }
}

export class Chromium {
  /** All requests of the page, as its network stack sent them. */
  readonly sent: Sent[] = []
  /** What the page complains of: exceptions, console errors, what its content security policy stopped. */
  readonly complaints: string[] = []
  readonly #process: ChildProcess
  readonly #folder: string
  readonly #socket: WebSocket
  readonly #answers = new Map<number, (message: Message) => void>()
  #session: string | undefined
  #calls = 0

  private constructor(process: ChildProcess, folder: string, socket: WebSocket) {
    this.#process = process
    this.#folder = folder
    this.#socket = socket
    socket.on('message', (data) => this.#take(JSON.parse(String(data))))
  }

  static async start(): Promise<Chromium> {
    const path = await installedChromium()
    const folder = await mkdtemp(join(tmpdir(), 'ropeway-chromium-'))
    const child = spawn(path, [...ARGUMENTS, `--user-data-dir=${folder}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let log = ''
    child.stderr.on('data', (chunk) => (log += String(chunk)))
    const address = await until(
      'the browser listens',
      () => {
        if (child.exitCode !== null) throw new Error(`${path} ended at once: ${log}`)
        return /DevTools listening on (ws:\S+)/.exec(log)?.[1]
      },
      START_MS_MAX,
    )
    const socket = new WebSocket(address, { perMessageDeflate: false })
    await once(socket, 'open')
    const browser = new Chromium(child, folder, socket)
    const { targetId } = await browser.#call('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await browser.#call('Target.attachToTarget', { targetId, flatten: true })
    browser.#session = sessionId
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await browser.#call(`${domain}.enable`)
    return browser
  }

  /** Opens a page, and waits until its own scripts have run. */
  async open(url: string): Promise<void> {
    const { errorText } = await this.#call('Page.navigate', { url })
    if (errorText !== undefined) throw new Error(`${errorText} at ${url}`)
    await this.shows('document.readyState', (state) => state === 'complete')
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<ReturnType<typeof JSON.parse>> {
    const { result, exceptionDetails } = await this.#call('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`)
    return result.value
  }

  /** Waits until an expression in the page gives what is wanted, and says what it gave instead. */
  async shows(expression: string, isWanted: (value: string) => boolean): Promise<string> {
    const deadline = Date.now() + ANSWER_MS_MAX
    for (;;) {
      const value = String(await this.evaluate(expression))
      if (isWanted(value)) return value
      if (Date.now() > deadline) throw new Error(`not within ${ANSWER_MS_MAX} ms; there is: ${value}`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  /** All cookies, those that scripts cannot see included. */
  async cookies(): Promise<{ name: string; httpOnly: boolean; sameSite?: string; path: string }[]> {
    return (await this.#call('Storage.getCookies')).cookies
  }

  async clearCookies(): Promise<void> {
    await this.#call('Network.clearBrowserCookies')
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, 'close')
    this.#socket.terminate()
    this.#process.kill('SIGTERM')
    await ended
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #call(method: string, params: object = {}): Promise<ReturnType<typeof JSON.parse>> {
    const id = ++this.#calls
    const answered = new Promise<Message>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${method}`)), ANSWER_MS_MAX)
      this.#answers.set(id, (message) => {
        clearTimeout(timer)
        resolve(message)
      })
    })
    const session = this.#session === undefined ? {} : { sessionId: this.#session }
    this.#socket.send(JSON.stringify({ id, method, params, ...session }))
    const { error, result } = await answered
    if (error) throw new Error(`${method}: ${error.message}`)
    return result
  }

  #take(message: Message): void {
    const { id, method, params } = message
    if (id !== undefined) this.#answers.get(id)?.(message)
    else if (method === 'Network.requestWillBeSent') this.sent.push(params.request)
    else if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params))
    else if (method === 'Log.entryAdded' && params.entry.level === 'error')
      this.complaints.push(params.entry.text)
  }
}

async function installedChromium(): Promise<string> {
  try {
    const script = join(import.meta.dirname, '../machine/browser.sh')
    const { stdout } = await promisify(execFile)('bash', [script])
    return stdout.trim()
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    throw new Error(`this test takes a Chromium or Chrome, and none can be had:\n${stderr}`, { cause: error })
  }
}
