// The tests' app: GET / names its version, POST / takes its time, a WebSocket echoes. MODE makes it misbehave.
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

// ROOT is what `/` answers, HOST_NAMES are the only names that it serves: as an API without a page there, or a framework that checks the Host.
const { MESSAGE = 'no message', MODE = 'ok', VERSION = 'v0', ROOT = '200', HOST_NAMES = '' } = process.env
if (MODE === 'exits') {
  console.error('cannot reach the database')
  process.exit(3)
}
if (MODE === 'sick') console.error('cannot write to the disk')

let answered = 0
let asked = 0
const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://app')
  request.resume()
  if (url.pathname === '/') response.statusCode = Number(ROOT)
  if (MODE === 'sick') response.statusCode = 500
  // Well only now and then.
  if (MODE === 'flaps' && ++answered % 2 === 0) response.statusCode = 500
  const name = (request.headers.host ?? '').replace(/:\d+$/, '')
  if (HOST_NAMES !== '' && !HOST_NAMES.split(',').includes(name)) response.statusCode = 400
  // Healthy for every probe, and of no use to a third of its clients.
  if (MODE === 'flaky' && request.method === 'GET' && url.pathname === '/' && ++asked % 3 === 0) {
    console.error('no connection to the database left')
    response.statusCode = 500
  }
  // It accepts, and that is all.
  if (MODE === 'wedged') return
  // Healthy for two probes, then gone.
  if (MODE === 'crashes' && ++answered === 2) setTimeout(() => process.exit(4), 20)
  if (MODE === 'crashes-later' && ++answered === 2) setTimeout(() => process.exit(4), 700)
  // A test that mounts /gate decides when a version is ready, so that a roll stands still where the test wants it.
  if (url.pathname === '/ready' && existsSync(`/gate/closed-${VERSION}`)) response.statusCode = 503
  if (url.pathname === '/crash') {
    console.error('out of memory')
    process.exit(4)
  }
  if (request.method === 'POST')
    await new Promise((done) => setTimeout(done, Number(url.searchParams.get('ms') ?? 0)))
  response.setHeader('x-version', VERSION)
  response.end(`Hi there, I love ! ${MESSAGE}\n`)
})
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.send(`hello from ${MESSAGE}`)
  socket.on('message', (text) => socket.send(String(text)))
})
server.keepAliveTimeout = 65_000
if (MODE !== 'deaf') server.listen(3000)
else setInterval(() => {}, 60_000)
if (MODE === 'crashes-soon') setTimeout(() => process.exit(4), 1000)

// At once, whatever is in flight: a roll must not need the app's help.
process.on('SIGTERM', () => process.exit(0))
