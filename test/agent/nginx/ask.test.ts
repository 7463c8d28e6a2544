// What is asked from inside nginx's container: the scripts themselves, run here by each program that an image may bring, and what an
// engine says where there is no shell.

import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { askerInside } from '../../../agent/nginx/ask-inside.ts'
import type { Place } from '../../../agent/nginx/place.ts'
import type { Asker } from '../../../agent/roll/gates/ask.ts'
import { httpClient } from '../../../agent/adapters/http.ts'
import { tempDir } from '../../support/host.ts'

const never = new AbortController().signal
const SHELL = execFileSync('sh', ['-c', 'command -v sh'], { encoding: 'utf8' }).trim()

/** An image that has these programs and no others. */
function image(...programs: string[]): Asker {
  const path = tempDir()
  for (const program of programs)
    symlinkSync(
      execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim(),
      join(path, program),
    )
  return asker(
    (argv) =>
      new Promise((resolve) =>
        execFile(SHELL, argv.slice(1), { env: { PATH: path } }, (error, stdout, stderr) =>
          resolve({ exitCode: error ? 1 : 0, stdout, stderr }),
        ),
      ),
  )
}

function asker(exec: (argv: readonly string[]) => ReturnType<Place['exec']>): Asker {
  return askerInside({ exec })
}

const servers: Server[] = []
async function listening(server: Server): Promise<number> {
  servers.push(server)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return (server.address() as AddressInfo).port
}
afterAll(() => {
  for (const server of servers) server.close()
})

let web: number
let deaf: number
let closed: number
beforeAll(async () => {
  web = await listening(
    createHttpServer(({ url, headers }, response) => {
      response.writeHead(url === '/up?full=1' && headers.host === 'shop.example' ? 204 : 404).end()
    }),
  )
  deaf = await listening(createServer((socket) => socket.destroy()))
  const gone = createServer()
  closed = await listening(gone)
  gone.close()
})

const to = (port: number) => ({ ip: '127.0.0.1', port, path: '/up?full=1', host: 'shop.example', tls: false })

describe.each<[string, string[]]>([
  ['curl', ['curl']],
  ['bash', ['bash', 'timeout']],
])('by %s', (_, programs) => {
  test('a page is asked for by its path and Host', async () => {
    const inside = image(...programs)
    expect(await inside.http(to(web), never)).toEqual({ status: 204 })
    expect(await inside.http({ ...to(web), host: 'other' }, never)).toEqual({ status: 404 })
  })

  test('nobody listens', async () => {
    expect(await image(...programs).http(to(closed), never)).toEqual({ fault: 'ECONNREFUSED' })
  })

  test('what listens speaks no HTTP', async () => {
    expect(await image(...programs).http(to(deaf), never)).toMatchObject({ kind: 'no-http' })
  })

  test('a connection', async () => {
    const inside = image(...programs)
    expect(await inside.tcp({ ip: '127.0.0.1', port: deaf }, never)).toBeUndefined()
    expect(await inside.tcp({ ip: '127.0.0.1', port: closed }, never)).toEqual({ fault: 'ECONNREFUSED' })
  })
})

describe('an image that brings nothing to ask with', () => {
  test.each<[string, () => Asker]>([
    ['a shell alone', () => image()],
    [
      'no shell, by its exit code',
      () => asker(async () => ({ exitCode: 127, stdout: 'OCI runtime exec failed', stderr: '' })),
    ],
    [
      'no shell, as the engine refuses it',
      () => asker(() => Promise.reject(new Error('exec: "sh": executable file not found in $PATH'))),
    ],
  ])('%s', async (_, begin) => {
    const inside = begin()
    const unasked = { fault: expect.stringContaining('neither'), kind: 'unasked' }
    expect(await inside.http(to(1), never)).toEqual(unasked)
    expect(await inside.tcp({ ip: '127.0.0.1', port: 1 }, never)).toEqual(unasked)
  })

  test('an engine that fails otherwise is heard', async () => {
    const inside = asker(() => Promise.reject(new Error('the engine is away')))
    await expect(inside.tcp({ ip: '127.0.0.1', port: 1 }, never)).rejects.toThrow('away')
  })
})

test('what cannot be asked from here is an answer, no exception', async () => {
  expect(await httpClient().get({ ...to(web), path: '/a b' }, 1000, never)).toEqual({
    fault: 'ERR_UNESCAPED_CHARACTERS',
  })
})
