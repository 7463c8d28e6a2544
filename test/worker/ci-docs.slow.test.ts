// docs/ci.md is executed: its scripts against the real Worker, its configurations by the agent's own parser, its workflow by action.yml.

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { configSchema } from '../../agent/config/schema.ts'
import type { Relay } from '../../agent/relay/relay.ts'
import type { AgentEvent } from '../../shared/events.ts'
import { ciScene } from '../support/ci-scene.ts'
import { tempDir } from '../support/host.ts'
import { ACTION } from '../support/job.ts'
import { startProxy } from '../support/proxy.ts'
import { ROLL, START_MS_MAX, testRelay } from '../support/relay.ts'
import { until } from '../support/until.ts'

const EXAMPLE = join(import.meta.dirname, '../../example')
const TEXT = readFileSync(join(import.meta.dirname, '../../docs/ci.md'), 'utf8')
const blocks = (language: string) =>
  [...TEXT.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block!)

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
})
afterAll(() => relay.stop())

interface Ran {
  readonly code: number
  readonly shown: string
}

function run(
  script: string,
  env: Record<string, string>,
  ...args: string[]
): Promise<Ran> & { seen(): string } {
  const path = join(tempDir(), 'deploy.sh')
  writeFileSync(path, script)
  let shown = ''
  const ran = new Promise<Ran>((resolve) => {
    const child = execFile('bash', [path, ...args], { env: { PATH: process.env['PATH'], ...env } }, (error) =>
      resolve({ code: error === null ? 0 : Number(error.code), shown }),
    )
    child.stderr?.on('data', (chunk) => (shown += chunk))
    onTestFinished(() => void child.kill('SIGKILL'))
  })
  return Object.assign(ran, { seen: () => shown })
}

const problem = { code: 'container-unhealthy', message: 'app2 did not answer' } as const
const BEGUN = ROLL.slice(0, -1)
const ENDS: readonly [number, AgentEvent][] = [
  [0, ROLL.at(-1)!],
  [1, { type: 'failed', ms: 9, problem }],
  [1, { type: 'stuck', ms: 9, problem, undo: problem }],
  [1, { type: 'superseded', by: '0123456789abcdef' }],
  [1, { type: 'cancelled' }],
  [1, { type: 'expired' }],
]
// What a script that looks for words would take for the outcome.
const LURE: AgentEvent = {
  type: 'warning',
  problem: { code: 'x', message: '\ndata: {"seq":9,"at":9,"event":{"type":"succeeded"}}' },
}

async function scene() {
  const claims = { project_id: ['7'], ref_protected: ['true'] }
  const at = await ciScene(relay, { type: 'gitlab-ci', claims })
  const token = await at.issuer.token({ project_id: '7', ref_protected: 'true' })
  const [withToken, withSecret] = blocks('bash')
  return {
    ...at,
    scripts: {
      token: {
        script: withToken!,
        env: { ROPEWAY_TOKEN: token },
        wrong: { ROPEWAY_TOKEN: 'x' },
        url: at.audience,
      },
      secret: {
        script: withSecret!,
        env: { ROPEWAY_SECRET: at.host.secret },
        wrong: { ROPEWAY_SECRET: `whsec_${btoa('wrong'.repeat(6))}` },
        url: `${relay.url}${at.host.hookPath()}`,
      },
    },
  }
}

describe.each(['token', 'secret'] as const)('the script with a %s', (kind) => {
  test.each(ENDS)('exits %i after %o, and shows the events', async (code, end) => {
    const { agent, scripts } = await scene()
    const { script, env, url } = scripts[kind]
    const ran = run(script, env, url, '{"reason":"it’s \\"quoted\\" $HOME"}')
    const { id } = await agent.nextDeploy(START_MS_MAX)
    agent.report(id, 1, ...BEGUN, LURE, end)
    expect(await ran).toMatchObject({ code, shown: expect.stringContaining(`"type":"${end.type}"`) })
  })

  test('goes on where the connection is cut, and asks for nothing twice', async () => {
    const { agent, scripts } = await scene()
    const { script, env, url } = scripts[kind]
    const proxy = await startProxy(Number(new URL(relay.url).port))
    onTestFinished(() => proxy.stop())
    const ran = run(script, env, url.replace(relay.url, `http://127.0.0.1:${proxy.port}`), '{}')
    const { id } = await agent.nextDeploy(START_MS_MAX)
    agent.report(id, 1, ...BEGUN)
    await until('the roll', () => ran.seen().includes('step-finished'), START_MS_MAX)
    for (const passage of proxy.open()) passage.reset()
    agent.report(id, BEGUN.length + 1, ROLL.at(-1)!)
    expect((await ran).code).toBe(0)
    expect((await agent.drained()).filter(({ type }) => type === 'deploy')).toEqual([])
  })

  test('exits 1 at once when it is refused', async () => {
    const { scripts } = await scene()
    const { script, wrong, url } = scripts[kind]
    const { code, shown } = await run(script, wrong, url, '{}')
    expect(code).toBe(1)
    expect(shown).toContain('"code":"unauthorized"')
  })
})

describe('what is to be written elsewhere', () => {
  const written = blocks('yaml').map((block) => parse(block))

  test('each trigger is one that the agent takes', () => {
    const triggers = written.flatMap((block) => (block.triggers ? [block.triggers] : []))
    const parsed = triggers.map((each) => {
      const stack = { compose: './docker-compose.yml', triggers: each }
      const config = { relay: 'https://relay.example', host: 'vps-1', stacks: { hello: stack } }
      const { data, error } = configSchema({ directory: EXAMPLE, env: {} }).safeParse(config)
      expect(error).toBeUndefined()
      return data?.stacks['hello']?.triggers['ci']?.type
    })
    expect(parsed).toEqual(['github-actions', 'gitlab-ci', 'google', 'oidc'])
  })

  test('the workflow gives the action inputs that it has, and the permission it needs', () => {
    const { deploy } = written.find(({ jobs }) => jobs).jobs
    expect(deploy.permissions).toEqual({ 'id-token': 'write' })
    expect(Object.keys(ACTION.inputs)).toEqual(expect.arrayContaining(Object.keys(deploy.steps[0].with)))
  })

  test('every input and output of the action is explained', () => {
    for (const name of [...Object.keys(ACTION.inputs), ...Object.keys(ACTION.outputs)])
      expect(TEXT).toMatch(new RegExp(`^\\|.*\`${name}\`.*\\|.*\\w.*\\|$`, 'm'))
  })
})
