// Which hashes compose may have given a container, and whether an `up` that names a service's dependencies would touch them.

import { expect, test } from 'vitest'
import { readHashes, withTwins } from '../../../../agent/adapters/compose/hashes.ts'
import { dependenciesOf, isAsDefined } from '../../../../agent/adapters/compose/dependencies.ts'
import type { ComposeModel, Container } from '../../../../agent/ports.ts'

const on = (...names: string[]) => ({ depends_on: Object.fromEntries(names.map((name) => [name, {}])) })

test('a service that depends on others is asked about twice, once without them', () => {
  const model = { name: 'x', services: { db: {}, app: { image: 'a', depends_on: { db: {} } } }, volumes: {} }
  const { services, ...rest } = JSON.parse(withTwins(JSON.stringify(model))) as typeof model
  const names = Object.keys(services)
  expect(rest).toEqual({ name: 'x', volumes: {} })
  expect(names).toHaveLength(3)
  expect(Object.values(services)).toEqual([...Object.values(model.services), { image: 'a' }])
  const lines = (twin: string) => names.map((name, at) => `${name} ${['d', 'a', twin][at]}`).join('\n')
  expect(readHashes(`${lines('b')}\n`)).toEqual({ db: ['d'], app: ['a', 'b'] })
  expect(readHashes(lines('a'))).toEqual({ db: ['d'], app: ['a'] })
})

test('dependencies are followed through the whole model, round a circle too', () => {
  const definitions = {
    app: on('db', 'migrate', 'gone'),
    migrate: on('db', 'app'),
    db: on('net'),
    net: {},
    web: on('app'),
  }
  const services = Object.entries(definitions).map(([name, definition]) => [name, { definition }])
  const model = { services: Object.fromEntries(services) } as unknown as ComposeModel
  expect(dependenciesOf(model, 'app').toSorted()).toEqual(['db', 'migrate', 'net'])
  expect(dependenciesOf(model, 'net')).toEqual([])
  expect(dependenciesOf(model, 'nobody')).toEqual([])
})

test.each<[string, object, Partial<Container>[], boolean]>([
  ['one that runs', {}, [{}], true],
  ['one that has ended', {}, [{ state: 'exited' }], true],
  ['none', {}, [], false],
  ['one of another definition', {}, [{ configHash: 'other' }], false],
  ['one of another image', {}, [{ imageId: 'other' }], false],
  ['one that compose would start', {}, [{ state: 'paused' }], false],
  ['two where one is asked for', {}, [{}, {}], false],
  ['two of two', { scale: 2 }, [{}, {}], true],
  ['two of two replicas', { deploy: { replicas: 2 } }, [{}, {}], true],
  ['none of none', { deploy: { replicas: 0 } }, [], true],
  ['one of two that differs', { scale: 2 }, [{}, { configHash: 'other' }], false],
])('a dependency with %s', (_, definition, said, is) => {
  const containers = said.map(
    (one) => ({ state: 'running', configHash: 'h', imageId: 'i', ...one }) as Container,
  )
  const service = { definition } as ComposeModel['services'][string]
  expect(isAsDefined(service, 'h', 'i', containers)).toBe(is)
})
