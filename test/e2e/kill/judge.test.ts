// The kill suite's own judge: what a crash may leave is put there by hand, and it must say so.

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { docker, seedNginxConf, startStack, until, type Stack } from '../../support/stack.ts'
import { faultsIn, type Promised } from './judge.ts'
import { look } from './look.ts'
import { composeOf, imageIdOf, type Version } from './version.ts'

let stack: Stack
let before: Version
let promised: Promised

beforeAll(async () => {
  stack = await startStack()
  before = { image: 'ropeway-test-app:v1', imageId: await imageIdOf('v1'), message: 'v1' }
  promised = {
    nginx: await seedNginxConf(),
    files: (await readdir(stack.folder, { recursive: true })).toSorted(),
    before,
    wanted: { ...before, message: 'v2' },
  }
})
afterAll(() => stack?.remove())

const up = (...args: string[]) => stack.compose('up', '-d', '--no-deps', '--pull', 'never', ...args)
// It returns before nginx has begun.
const reload = async () => {
  const since = Date.now()
  await stack.compose('exec', '-T', 'nginx', 'nginx', '-s', 'reload')
  await until(async () => (await look(stack)).nginxLoadedAt >= since, 'nginx has new workers')
}
const mixed = (wanted: Version) =>
  composeOf(before).replace('MESSAGE=app2,v1', `MESSAGE=app2,${wanted.message}`)

interface Damage {
  readonly what: string
  do(): Promise<unknown>
  undo(): Promise<unknown>
  readonly found: readonly RegExp[]
}

const DAMAGES: readonly Damage[] = [
  {
    what: 'a server is down',
    do: () =>
      stack.write('proxy/nginx.conf', promised.nginx.replace('app2:3000;', 'app2:3000 down;')).then(reload),
    undo: () => stack.write('proxy/nginx.conf', promised.nginx).then(reload),
    found: [/^nginx\.conf is not as it was:\n.*\n.*app2:3000 down/, /^app2 is asked nothing/],
  },
  {
    what: 'a parameter of the roll is left',
    do: () =>
      stack
        .write('proxy/nginx.conf', promised.nginx.replace('app1:3000;', 'app1:3000 max_fails=0;'))
        .then(reload),
    undo: () => stack.write('proxy/nginx.conf', promised.nginx).then(reload),
    found: [/^nginx\.conf is not as it was:\n.*max_fails=0/],
  },
  {
    what: 'the file is as it was, and nginx was not told',
    do: () => stack.write('proxy/nginx.conf', promised.nginx),
    undo: reload,
    found: [/^nginx has not loaded what was written/],
  },
  {
    what: 'one service runs the other version',
    do: () =>
      stack
        .write('docker-compose.yml', mixed(promised.wanted))
        .then(() => up('app2'))
        .then(reload),
    undo: () =>
      stack
        .write('docker-compose.yml', composeOf(before))
        .then(() => up('app2'))
        .then(reload),
    found: [
      /app2-1 runs with MESSAGE=app2,v2$/,
      /^the compose file is neither version's/,
      /^app2 is asked nothing: .*app2,v2/,
    ],
  },
  {
    what: 'the compose file is ahead of what runs',
    do: () => stack.write('docker-compose.yml', composeOf(promised.wanted)),
    undo: () => stack.write('docker-compose.yml', composeOf(before)),
    found: [
      /^compose would recreate .*app1-1$/,
      /^compose would recreate .*app2-1$/,
      /^the compose file is that of the other version$/,
    ],
  },
  {
    what: 'compose was stopped half way',
    do: () =>
      docker(
        'create',
        '--name',
        `0123456789ab_${stack.project}-app2-1`,
        '--label',
        `com.docker.compose.project=${stack.project}`,
        '--label',
        'com.docker.compose.service=app2',
        'ropeway-test-app:v1',
      ),
    undo: () => docker('rm', `0123456789ab_${stack.project}-app2-1`),
    found: [/^app2 has 2 containers: .*0123456789ab_/],
  },
  {
    what: 'an instance does not run',
    do: () => stack.compose('stop', '-t', '0', 'app1'),
    undo: () => up('app1').then(reload),
    found: [/app1-1 is exited$/, /^app1 is asked nothing/],
  },
  {
    what: 'a half-written file lies beside',
    do: () => stack.write('.docker-compose.yml.ropeway-0123abcd', 'services:\n'),
    undo: () => rm(join(stack.folder, '.docker-compose.yml.ropeway-0123abcd')),
    found: [/^files were left behind: \.docker-compose\.yml\.ropeway-0123abcd$/],
  },
]

test('the judge finds nothing in a stack that is as it was, and each thing that a crash may leave', async () => {
  expect(faultsIn(await look(stack), before, promised)).toEqual([])
  for (const damage of DAMAGES) {
    await damage.do()
    const faults = faultsIn(await look(stack), before, promised)
    for (const found of damage.found) expect(faults, damage.what).toContainEqual(expect.stringMatching(found))
    await damage.undo()
  }
  expect(faultsIn(await look(stack), before, promised)).toEqual([])
})
