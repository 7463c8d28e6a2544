// Whether an edit means what is wanted, by what compose makes of the files before and after it.

import { expect, test } from 'vitest'
import { checkEdits } from '../../../agent/compose/check-edit.ts'
import type { ComposeModel, ComposeProject } from '../../../agent/ports.ts'

const STACK = { name: 'hello', compose: ['/srv/a.yml', '/srv/b.yml'] } as unknown as ComposeProject
const TO = { image: 'hello:v2', env: { MESSAGE: 'new', OLD: null } }
const rolled = [
  { service: 'app2', to: TO },
  { service: 'app1', to: TO },
]

interface Service {
  image?: string
  environment?: Record<string, string>
  [more: string]: unknown
}

function modelOf(
  services: Record<string, Service>,
  rest: object = { networks: { default: {} } },
): ComposeModel {
  const all = Object.entries(services).map(([name, definition]) => [
    name,
    { image: definition.image, env: definition.environment ?? {}, mounts: [], blanks: [], definition },
  ])
  return { project: 'hello', services: Object.fromEntries(all), rest }
}

const OLD = { image: 'hello:v1', environment: { MESSAGE: 'old', OLD: 'x' }, expose: ['3000'] }
const NEW = { image: 'hello:v2', environment: { MESSAGE: 'new' }, expose: ['3000'] }
const DB = { image: 'db:1' }
const before = modelOf({ app1: OLD, app2: OLD, db: DB })
const done = modelOf({ app1: NEW, app2: NEW, db: DB })

/** What is said of an edit after which compose sees these models, in rolling order. */
async function check(after: ComposeModel, text = 'services: {}\n', half = after) {
  const asked: number[] = []
  const modelAfter = (count: number) => {
    asked.push(count)
    return Promise.resolve(count === rolled.length ? after : half)
  }
  await checkEdits(STACK, { model: before, texts: { '/srv/a.yml': text } }, rolled, modelAfter)
  return asked
}

test('an edit of the wanted image and env alone is good, and asked about once', async () => {
  expect(await check(done)).toEqual([2])
})

test.each(['x: &a 1\n', 'services: { a: { extends: b } }\n'])(
  'where one service may reach into another (%j), it is asked about after each',
  async (text) => {
    const half = modelOf({ app1: OLD, app2: NEW, db: DB })
    expect(await check(done, text, half)).toEqual([1, 2])
    // The first edit has already changed what is rolled later.
    await expect(check(done, text)).rejects.toMatchObject({
      code: 'compose-edit-spills',
      message: 'the edit would also change app1',
    })
  },
)

test.each<[string, ComposeModel, string, string]>([
  [
    'another service',
    modelOf({ app1: NEW, app2: NEW, db: { image: 'db:2' } }),
    'the edit would also change db',
    'give app2, app1 an image and environment of their own in /srv/a.yml, /srv/b.yml',
  ],
  [
    'a service that was not there',
    modelOf({ app1: NEW, app2: NEW, db: DB, extra: DB }),
    'the edit would also change extra',
    'give app2, app1 an image and environment of their own in /srv/a.yml, /srv/b.yml',
  ],
  [
    'one that was there',
    modelOf({ app1: NEW, app2: NEW }),
    'the edit would also change db',
    'give app2, app1 an image and environment of their own in /srv/a.yml, /srv/b.yml',
  ],
  [
    'more of a rolled service',
    modelOf({ app1: { ...NEW, expose: ['3001'] }, app2: NEW, db: DB }),
    'the edit would also change app1',
    'give app2, app1 an image and environment of their own in /srv/a.yml, /srv/b.yml',
  ],
  [
    'a network',
    modelOf({ app1: NEW, app2: NEW, db: DB }, { networks: { other: {} } }),
    'the edit would also change networks or volumes',
    'give app2, app1 an image and environment of their own in /srv/a.yml, /srv/b.yml',
  ],
])('an edit that changes %s is refused', async (_, after, message, cure) => {
  await expect(check(after)).rejects.toMatchObject({ code: 'compose-edit-spills', message, cure })
})

test.each<[string, ComposeModel, string]>([
  ['image', modelOf({ app1: { ...NEW, image: 'hello:v1' }, app2: NEW, db: DB }), 'app1'],
  ['MESSAGE', modelOf({ app1: NEW, app2: { ...NEW, environment: { MESSAGE: 'old' } }, db: DB }), 'app2'],
  [
    'OLD',
    modelOf({ app1: NEW, app2: { ...NEW, environment: { MESSAGE: 'new', OLD: 'x' } }, db: DB }),
    'app2',
  ],
])('an edit after which the %s is not the wanted one is refused', async (what, after, service) => {
  await expect(check(after)).rejects.toMatchObject({
    code: 'compose-not-editable',
    message: `after the edit service ${service} would not have the wanted ${what}`,
    cure: `write ${what} of ${service} as a plain value in /srv/a.yml, /srv/b.yml`,
  })
})

test('where no image is wanted, whichever there is is good', async () => {
  const to = { env: { MESSAGE: 'new', OLD: null } }
  const after = modelOf({ app1: { ...NEW, image: 'hello:v1' }, app2: OLD, db: DB })
  const read = () => Promise.resolve(after)
  await checkEdits(STACK, { model: before, texts: {} }, [{ service: 'app1', to }], read)
})

const odd = (definition: unknown): ComposeModel => ({
  ...before,
  services: { app1: { image: undefined, env: {}, mounts: [], blanks: [], definition } },
})

test.each([null, 'text'])('what is no definition at all (%j) is compared as it is', async (was) => {
  const edit = [{ service: 'app1', to: { env: {} } }]
  const seen = { model: odd(was), texts: {} }
  await checkEdits(STACK, seen, edit, () => Promise.resolve(odd(was)))
  await expect(checkEdits(STACK, seen, edit, () => Promise.resolve(odd('other')))).rejects.toThrow('app1')
})
