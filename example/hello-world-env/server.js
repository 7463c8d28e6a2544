// Answers GET / with its MESSAGE, on port 3000.
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  response.end(`Hi there, I love ! ${process.env.MESSAGE}\n`)
})
// nginx keeps idle connections for 60 s: the app must not close them first.
server.keepAliveTimeout = 65_000
server.listen(3000)

process.on('SIGTERM', () => process.exit(0))
