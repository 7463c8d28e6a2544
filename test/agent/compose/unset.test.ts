// What runs says whether a blank is new.

import { expect, test } from 'vitest'
import { checkBlanks } from '../../../agent/compose/unset.ts'
import type { ComposeModel, Container } from '../../../agent/ports.ts'
import { FakeWorld } from '../../support/fake-world.ts'

const { stack } = new FakeWorld()
const IN_ENV = [{ variable: 'A', env: 'X' }]
const ELSEWHERE = [{ variable: 'A', env: undefined }]

test.each<[string, object[], { configHash?: string; env?: Record<string, string> }[], boolean]>([
  ['runs with another value', IN_ENV, [{ env: { X: 'secret' } }], true],
  ['runs with a blank of its own', IN_ENV, [{ env: { X: '' } }], false],
  ['runs without it', IN_ENV, [{}], false],
  ['is of the same definition', ELSEWHERE, [{ configHash: 'h', env: { X: 'secret' } }], false],
  ['is of another definition, and may have had a value', ELSEWHERE, [{}], true],
  ['differs in one of two', IN_ENV, [{ env: { X: '' } }, { env: { X: 'secret' } }], true],
  ['has no blank', [], [{ env: { X: 'secret' } }], false],
  ['has no container', IN_ENV, [], false],
])('a service that %s', (_, blanks, containers, isRefused) => {
  const model = { services: { app1: { env: { X: '' }, blanks } } } as unknown as ComposeModel
  const own = containers.map((one) => ({ service: 'app1', configHash: 'other', env: {}, ...one }))
  const check = (services = ['app1']) =>
    checkBlanks(stack, { model, hashes: { app1: ['h'] } }, own as unknown as Container[], services)
  if (isRefused) expect(check).toThrow(/no value for A of app1/)
  else expect(check).not.toThrow()
  expect(() => check([])).not.toThrow()
})

test('all of them are told, each once, with the service and where to set them', () => {
  const blanks = [
    { variable: 'A', env: 'X' },
    { variable: 'A', env: undefined },
    { variable: 'B', env: 'X' },
  ]
  const model = {
    services: { app1: { env: { X: '' }, blanks }, app2: { env: { X: '' }, blanks: [blanks[2]] } },
  } as unknown as ComposeModel
  const own = ['app1', 'app2'].map((service) => ({ service, configHash: 'other', env: { X: 'secret' } }))
  expect(() =>
    checkBlanks(
      { ...stack, compose: ['/srv/hello/docker-compose.yml'] },
      { model, hashes: {} },
      own as unknown as Container[],
      ['app1', 'app2', 'gone'],
    ),
  ).toThrow(
    expect.objectContaining({
      code: 'compose-invalid',
      message:
        'compose knows no value for A, B of app1, B of app2, and would put a blank where what runs has none',
      cure: 'name the file that sets it in stacks.hello.env_files, or set it in /srv/hello/.env (as `NAME=` where it is to be blank)',
    }),
  )
})
