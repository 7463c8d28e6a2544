// What is read of each registry's notifications: the push of a tag, or why it is none.

import { describe, expect, test } from 'vitest'
import { registryOf, REGISTRIES, type RegistryType } from '../../shared/triggers/registries/index.ts'
import { OTHER_FORMS, SENDERS, type Sent } from '../support/notifications.ts'

const TYPES = Object.keys(REGISTRIES) as RegistryType[]
const read = (type: RegistryType, { body, headers = {} }: Sent) =>
  registryOf(type)?.read(JSON.parse(body), headers) ?? []

test.each(TYPES)('%s: repository and tag of a push', (type) => {
  const told = read(type, SENDERS[type].push('v2'))
  expect(told.at(-1)).toMatchObject({ repository: SENDERS[type].path, tag: 'v2' })
})

test.each(OTHER_FORMS)('%s: %s', (type, _, make) => {
  const { path } = SENDERS[type]
  expect(read(type, make('v3')).filter((each) => !('ignored' in each))).toContainEqual(
    expect.objectContaining({ repository: path, tag: 'v3' }),
  )
})

describe('what is no push says so', () => {
  const others = TYPES.flatMap((type) =>
    Object.entries(SENDERS[type].others).map(([what, make]) => [type, what, make] as const),
  )
  test.each(others.filter(([, what]) => what !== 'another repository’s'))('%s: %s', (type, _, make) => {
    for (const each of read(type, make('v2'))) expect(each).toEqual({ ignored: expect.stringMatching(/\w/) })
  })
})

test.each(TYPES)('%s: the time of a push is read where it is told, and is a time', (type) => {
  const at = (
    read(type, SENDERS[type].push('v2', new Date('2026-11-26T09:00:00Z'))).at(-1) as { at?: number }
  ).at
  if (type === 'quay' || type === 'jfrog') expect(at).toBeUndefined()
  else expect(at).toBeGreaterThan(Date.parse('2026-01-01'))
})

test.each([0, -1, 1e300, 'yesterday', '', {}, null])('the time %j is none', (pushed_at) => {
  const body = { push_data: { tag: 'v2', pushed_at }, repository: { repo_name: 'acme/hello' } }
  expect(read('docker-hub', { body: JSON.stringify(body) })).toEqual([
    { repository: 'acme/hello', tag: 'v2', at: undefined, id: undefined },
  ])
})

test('GitLab does not say which tag a pipeline pushed: those of its own templates are looked for, the likeliest last', () => {
  const tags = read('gitlab', SENDERS.gitlab.push('main')).map((each) => 'tag' in each && each.tag)
  expect(tags).toEqual(['latest', 'bcbb5ec396a2c0f828686f14fac9b80b780504f2', 'bcbb5ec3', 'main'])
  const slug = read('gitlab', SENDERS.gitlab.push('Feature/X_1')).flatMap((each) =>
    'tag' in each ? each.tag : [],
  )
  expect(slug.at(-1)).toBe('feature-x-1')
})

test.each(['a b', '-x', 'v1;rm', 'v'.repeat(129), '../v2'])('a tag that is none: %j', (tag) => {
  expect(read('ecr', SENDERS.ecr.push(tag))).toEqual([{ ignored: 'the tag is none' }])
})
