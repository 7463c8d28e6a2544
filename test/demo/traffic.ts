// The demo's clients: a few people with browsers, each on a connection that is kept alive, asking again and again. Nothing is retried.

import http from 'node:http'

const CLIENTS = 10
/** Between two requests of one client: together they ask some 400 times a second, a busy site and an idle machine. */
const PAUSE_MS = 20
/** The demo never runs longer; its traffic ends even if the demo forgot it. */
const TRAFFIC_MS_MAX = 10 * 60_000

export interface Traffic {
  readonly requests: number
  readonly failed: number
  /** How many answers came from each `app1,v1`. */
  readonly answers: Readonly<Record<string, number>>
  readonly lastFailure: string | undefined
}

export function startTraffic(port: number): { now(): Traffic; stop(): Promise<Traffic> } {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CLIENTS })
  const answers: Record<string, number> = {}
  const stopped = new AbortController()
  let requests = 0
  let failed = 0
  let lastFailure: string | undefined

  const ask = () =>
    new Promise<void>((done) => {
      const request = http.get({ host: '127.0.0.1', port, agent }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => {
          requests += 1
          if (response.statusCode === 200) {
            const from = text.trim().replace('Hi there, I love ! ', '')
            answers[from] = (answers[from] ?? 0) + 1
          } else fail(`status ${response.statusCode}`)
          done()
        })
      })
      request.on('error', (error) => {
        requests += 1
        fail(error.message)
        done()
      })
    })
  const fail = (why: string) => {
    failed += 1
    lastFailure = why
  }
  const client = async () => {
    const end = Date.now() + TRAFFIC_MS_MAX
    while (!stopped.signal.aborted && Date.now() < end) {
      await ask()
      await new Promise((done) => setTimeout(done, PAUSE_MS))
    }
  }

  const now = (): Traffic => ({ requests, failed, answers: { ...answers }, lastFailure })
  const clients = Array.from({ length: CLIENTS }, client)
  return {
    now,
    async stop() {
      stopped.abort()
      await Promise.all(clients)
      agent.destroy()
      return now()
    },
  }
}
