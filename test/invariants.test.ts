// What must be true of the repository itself: who may import whom, and that what is documented is what there is.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { configSchema } from '../agent/config/schema.ts'
import { handlerOf } from '../agent/roll/steps/index.ts'
import type { StepHandler } from '../agent/roll/steps/step.ts'
import { CHAT_TYPES } from '../shared/chat/chat.ts'
import { STATUSES } from '../shared/deploy.ts'
import { deployEventSchema } from '../shared/events.ts'
import { stepSchema } from '../shared/plan.ts'
import { PROBLEMS } from '../shared/problems.ts'
import { CLOSE, fromAgentSchema, fromHubSchema } from '../shared/protocol.ts'
import { defaultTtlMs, triggerSchema } from '../shared/triggers/index.ts'
import { EXAMPLE_ENV } from './support/example-env.ts'
import { tempDir } from './support/host.ts'

const ROOT = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith('.ts') && statSync(join(ROOT, path)).isFile())
}

/** What a file imports: packages by name, our own files by their path from the root. */
function imports(path: string): string[] {
  const specifiers = [
    ...read(path).matchAll(
      /(?:^|\n)\s*(?:import|export)[^'"\n]*?(?:\n[^'"]*?)?from '([^']+)'|import\('([^']+)'\)|(?:^|\n)import '([^']+)'/g,
    ),
  ]
  return specifiers.map(([, from, dynamic, bare]) => {
    const specifier = from ?? dynamic ?? bare ?? ''
    return specifier.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), specifier)) : specifier
  })
}

/** The literal under a key of each member of a union, by the schema's own JSON form. */
function typesOf(schema: z.ZodType, key: string): string[] {
  const { oneOf = [], anyOf = [] } = z.toJSONSchema(schema, { unrepresentable: 'any' })
  return [...oneOf, ...anyOf].map((member) => {
    const property = typeof member === 'object' ? member.properties?.[key] : undefined
    return typeof property === 'object' ? String(property.const) : 'nothing'
  })
}

/** What our linter says of a file beside one that imports a type of it. */
function lint(text: string) {
  const dir = tempDir()
  writeFileSync(join(dir, 'a.ts'), "import type { B } from './b.ts'\nexport type A = B | 1\n")
  writeFileSync(join(dir, 'b.ts'), text)
  const oxlint = join(ROOT, 'node_modules/.bin/oxlint')
  return spawnSync(oxlint, ['-c', join(ROOT, '.oxlintrc.json'), dir], { encoding: 'utf8' })
}

test('a kind of step that does not say how it is undone does not compile', () => {
  const { undone: _, ...rest } = handlerOf('pull')
  // @ts-expect-error the compiler asks for `undone`
  const handler: StepHandler<'pull'> = rest
  expect(handler).not.toHaveProperty('undone')
})

describe('who may import whom', () => {
  test('the reader of imports finds them', () => {
    expect(imports('shared/tokens.ts')).toEqual(expect.arrayContaining(['jose', 'zod', 'shared/limits.ts']))
    expect(imports('agent/cli/program.ts')).toContain('agent/cli/relay.ts')
  })

  test('a circle of imports is refused, also one of types alone', () => {
    expect(lint('export type B = 2\n')).toMatchObject({ status: 0 })
    const circle = lint("import type { A } from './a.ts'\nexport type B = A | 2\n")
    expect(circle).toMatchObject({ status: 1, stdout: expect.stringContaining('no-cycle') })
  })

  test.each(sources('shared'))('%s imports shared, zod and jose at most', (path) => {
    const allowed = path === 'shared/version.ts' ? /^shared\/|^semver\// : /^shared\/|^(zod|jose)$/
    expect(imports(path).filter((name) => !allowed.test(name))).toEqual([])
  })

  test.each(sources('worker'))('%s imports nothing of the agent or of Node', (path) => {
    expect(imports(path).filter((name) => /^(agent|test)\/|^node:/.test(name))).toEqual([])
  })

  test.each(sources('agent'))('%s imports nothing of the worker or of the tests', (path) => {
    expect(imports(path).filter((name) => /^(worker|test)\//.test(name))).toEqual([])
  })

  const core = ['agent/nginx', 'agent/compose', 'agent/roll'].flatMap(sources)
  test.each(core)('%s is core: no file, socket, process or clock of its own', (path) => {
    const allowed =
      /^(shared|agent\/(nginx|compose|roll))\/|^agent\/(config\/config|ports)\.ts$|^(yaml|zod)$|^node:(util|path\/posix)$/
    expect(imports(path).filter((name) => !allowed.test(name))).toEqual([])
  })

  test.each(sources('agent/roll'))('%s knows neither nginx nor compose', (path) => {
    expect(imports(path).filter((name) => /^agent\/(nginx|compose)\//.test(name))).toEqual([])
  })

  test.each(sources('agent').filter((path) => imports(path).includes('dockerode')))(
    '%s may import dockerode',
    (path) => expect(path).toMatch(/^agent\/adapters\//),
  )

  test.each(
    ['agent/nginx', 'agent/compose', 'shared']
      .flatMap(sources)
      .concat(['decide', 'chat/pace', 'chat/words'].map((name) => `worker/hub/${name}.ts`)),
  )('%s is told the time', (path) =>
    expect(read(path)).not.toMatch(/Date\.now\(\)|new Date\(\)|performance\.now/),
  )
})

describe('what is documented is what there is', () => {
  test.each(Object.keys(PROBLEMS))('ARCHITECTURE explains problem %s', (code) => {
    expect(read('ARCHITECTURE.md')).toContain(`\`${code}\``)
  })

  test.each([
    ...typesOf(fromAgentSchema, 'type'),
    ...typesOf(fromHubSchema, 'type'),
    ...Object.values(CLOSE).map(String),
  ])('PROTOCOL.md explains %s', (word) =>
    expect(read('shared/PROTOCOL.md')).toMatch(new RegExp(`\\|[^|]*\\b${word}\\b[^|]*\\|`)),
  )

  test.each([...typesOf(deployEventSchema, 'type'), ...typesOf(stepSchema, 'kind'), ...STATUSES])(
    'ARCHITECTURE names %s',
    (word) => expect(read('ARCHITECTURE.md')).toContain(`\`${word}\``),
  )

  test.each(CHAT_TYPES)('docs/chat.md says how to set up %s', (type) => {
    expect(read('docs/chat.md')).toContain(`type: ${type}`)
  })

  test('the README’s relative links lead somewhere', () => {
    const links = [...read('README.md').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => path ?? '')
    expect(links.length).toBeGreaterThan(0)
    expect(links.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  })

  test('the annotated configuration parses, and shows every key of a stack, every type of trigger and every kind of destination', () => {
    const example: unknown = parse(read('example/ropeway.example.yml'))
    const parsed = configSchema({ directory: join(ROOT, 'example'), env: EXAMPLE_ENV }).safeParse(example)
    expect(parsed.error).toBeUndefined()
    const stack = (example as { stacks: Record<string, object> }).stacks['hello'] ?? {}
    expect(Object.keys(stack).toSorted().join(' ')).toBe(
      'after allow before compose deadline drain env_files health instances notify profiles project proxy releases soak triggers',
    )
    expect(Object.keys((stack as { before: object }).before)).toEqual([
      'service',
      'command',
      'timeout',
      'on_retry',
    ])
    const kinds = readdirSync(join(ROOT, 'agent/notify')).filter(
      (name) =>
        /destinationSchema\($/m.test(read(`agent/notify/${name}`)) ||
        /destinationSchema\('/.test(read(`agent/notify/${name}`)),
    )
    const notified = parsed.data?.stacks['hello']?.notify ?? []
    expect(notified.map(({ type }) => `${type}.ts`).toSorted()).toEqual(kinds.toSorted())
    for (const { type } of notified) expect(read('docs/notifications.md')).toContain(`\`${type}\``)
    const triggers = Object.values(parsed.data?.stacks['hello']?.triggers ?? {})
    expect(triggers.map(({ type }) => type)).toEqual(typesOf(triggerSchema, 'type'))
    expect(triggers.map(({ type, ttlMs }) => ttlMs === defaultTtlMs(type))).toEqual(triggers.map(() => true))
    const chats = Object.values(parsed.data?.chat ?? {})
    expect(chats.map(({ type }) => type)).toEqual(CHAT_TYPES)
    const [first] = Object.values((example as { chat: Record<string, { stacks: { hello: object } }> }).chat)
    expect(Object.keys(first?.stacks.hello ?? {})).toEqual(['deploy', 'approve', 'approveOwn', 'image'])
    expect(Object.keys(first ?? {})).toEqual([
      'type',
      'secret',
      'token',
      'teams',
      'channels',
      'stacks',
      'ttl',
    ])
  })
})

describe('the repository', () => {
  test('the lockfile names no registry', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved"/)
  })

  test.each(['agent', 'worker', 'shared'].flatMap(sources))('%s opens with what it is', (path) => {
    expect(read(path).replace(/^#!.*\n/, '')).toMatch(/^\/\/ \S/)
  })
})
