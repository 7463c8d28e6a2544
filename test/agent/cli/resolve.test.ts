// `ropeway resolve` on real files; whether the stack is whole is made up.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Io } from '../../../agent/cli/io.ts'
import { run, type ResolveOptions } from '../../../agent/cli/resolve.ts'
import { stuckNotesOf } from '../../../agent/adapters/stuck-notes.ts'
import type { Ports } from '../../../agent/roll/ports.ts'
import type { StuckNote } from '../../../agent/roll/stuck/note.ts'
import { Problem } from '../../../shared/problems.ts'
import { tempDir } from '../../support/host.ts'

const NOTE: StuckNote = {
  deploy: '0123456789abcdef',
  at: 1_764_000_000_000,
  why: 'app1 does not start',
  record: '{"attempt":0}',
}
const HEADING = 'hello is stuck since deploy 0123456789abcdef (2025-11-24T16:00:00.000Z): app1 does not start'
const WRONG = ['app1 has no running container', 'app2 is down in /nginx.conf']

interface Asked {
  readonly stack: string
  readonly record: string | undefined
}

/** A host with a stack `hello`, stuck or not, and a world that says what is wrong with it. */
function host({ note, look }: { note?: StuckNote; look?: () => Promise<string[]> }) {
  const dir = tempDir()
  const config = join(dir, 'ropeway.yml')
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  writeFileSync(
    config,
    'relay: http://127.0.0.1:8787\nhost: vps-1\nstacks:\n  hello: { compose: ./docker-compose.yml }\n',
  )
  const data = join(dir, 'data')
  const notes = stuckNotesOf(data, 'hello')
  if (note) notes.write(note)
  const asked: Asked[] = []
  const locks: string[] = []
  const ports = {
    locks: {
      take: async (stack: { name: string }, holder: string) => {
        locks.push(`${holder} takes ${stack.name}`)
        return { release: async () => void locks.push('released') }
      },
    },
  } as unknown as Ports
  const resolve = async (
    options: Partial<ResolveOptions> = {},
    stack = 'hello',
    signal = new AbortController().signal,
  ) => {
    let out = ''
    const io = { env: {}, stdout: { write: (text: string) => (out += text) }, signal } as unknown as Io
    const code = await run(stack, { config, data, ...options }, io, async () => ({
      ports,
      findFaults: async (of, _ports, _signal, record) => {
        asked.push({ stack: of.name, record })
        return look ? await look() : []
      },
    }))
    return { code, out }
  }
  return { resolve, notes, asked, locks }
}

test('a stack that is not stuck is said to be so, and nothing is looked at', async () => {
  const { resolve, asked, locks } = host({})
  expect(await resolve()).toEqual({ code: 0, out: 'hello is not stuck\n' })
  expect(JSON.parse((await resolve({ json: true })).out)).toEqual({ stack: 'hello', stuck: null })
  expect([asked, locks]).toEqual([[], []])
})

test('a stack that is whole again is unlocked, and its roll’s record was looked at', async () => {
  const { resolve, notes, asked, locks } = host({ note: NOTE })
  expect(await resolve()).toEqual({ code: 0, out: `${HEADING}\nit is whole again: it is unlocked\n` })
  expect(notes.read()).toBeUndefined()
  expect(asked).toEqual([{ stack: 'hello', record: '{"attempt":0}' }])
  expect(locks).toEqual(['ropeway resolve takes hello', 'released'])
})

test('a stack that is not whole stays locked, and what is wrong is listed', async () => {
  const { resolve, notes, locks } = host({ note: NOTE, look: async () => WRONG })
  expect(await resolve()).toEqual({
    code: 1,
    out: `${HEADING}\nstill wrong:\n  ${WRONG.join('\n  ')}\nit stays locked: repair it, or take it as it is with \`ropeway resolve hello --force\`\n`,
  })
  expect(notes.read()).toEqual(NOTE)
  expect(locks.at(-1)).toBe('released')
})

test('--force unlocks it as it is, and still says what is wrong', async () => {
  const { resolve, notes } = host({ note: NOTE, look: async () => WRONG })
  const { code, out } = await resolve({ force: true })
  expect([code, out]).toEqual([
    0,
    `${HEADING}\nstill wrong:\n  ${WRONG.join('\n  ')}\nit is unlocked all the same, by --force\n`,
  ])
  expect(notes.read()).toBeUndefined()
})

test.each([
  [{}, WRONG, { code: 1, resolved: false }],
  [{ force: true }, WRONG, { code: 0, resolved: true }],
  [{}, [], { code: 0, resolved: true }],
])('as JSON: %j with %j', async (options, wrong, { code, resolved }) => {
  const { resolve } = host({ note: NOTE, look: async () => wrong })
  const found = await resolve({ ...options, json: true })
  expect(found.code).toBe(code)
  const { deploy, at, why } = NOTE
  expect(JSON.parse(found.out)).toEqual({ stack: 'hello', stuck: { deploy, at, why }, wrong, resolved })
})

test('a world that cannot be looked at is not whole', async () => {
  const gone = new Problem('engine-unreachable', 'the engine does not answer')
  const { resolve, notes } = host({ note: NOTE, look: () => Promise.reject(gone) })
  expect(await resolve()).toMatchObject({
    code: 1,
    out: expect.stringContaining('\n  the engine does not answer\n'),
  })
  expect(notes.read()).toEqual(NOTE)
  expect((await resolve({ force: true })).code).toBe(0)
})

test('whoever interrupts it has changed nothing, by force neither', async () => {
  const stop = new AbortController()
  const look = () => {
    stop.abort(new Error('interrupted'))
    return Promise.reject(new Error('stopped'))
  }
  const { resolve, notes, locks } = host({ note: NOTE, look })
  await expect(resolve({ force: true }, 'hello', stop.signal)).rejects.toThrow('interrupted')
  expect(notes.read()).toEqual(NOTE)
  expect(locks.at(-1)).toBe('released')
})

test('a stack that the host does not have is refused', async () => {
  await expect(host({ note: NOTE }).resolve({}, 'other')).rejects.toMatchObject({ code: 'stack-unknown' })
})
