// `npm run build`: the Worker's bundle, as wrangler would deploy it, and the JavaScript that is published, since Node strips no types
// under node_modules. A checkout needs the bundle alone, and only a new one (`--stale`): Node runs the rest as it is.

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '..')
const BUNDLE = join(ROOT, 'dist/worker')
const SOURCES = ['wrangler.toml', 'worker', 'shared', 'package-lock.json']

if (import.meta.main) {
  if (process.argv.includes('--stale')) await buildWorker()
  else {
    await bundleWorker()
    await compile()
  }
}

/** Bundles the Worker unless the bundle is newer than all it is made of. */
export async function buildWorker(): Promise<void> {
  const built = await stat(join(BUNDLE, 'index.js')).catch(() => undefined)
  const changed = await Promise.all(SOURCES.map((path) => newestChange(join(ROOT, path))))
  if (!built || built.mtimeMs < Math.max(...changed)) await bundleWorker()
}

// Bundled beside and moved into place file by file, so that a relay that starts just now never reads half a bundle.
async function bundleWorker(): Promise<void> {
  await mkdir(BUNDLE, { recursive: true })
  const fresh = await mkdtemp(join(ROOT, 'dist/.worker-'))
  try {
    await run('node_modules/wrangler/bin/wrangler.js', 'deploy', '--dry-run', '--outdir', fresh)
    for (const file of await readdir(fresh)) await rename(join(fresh, file), join(BUNDLE, file))
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

async function compile(): Promise<void> {
  for (const folder of ['agent', 'shared'])
    await rm(join(ROOT, 'dist', folder), { recursive: true, force: true })
  await run('node_modules/typescript/lib/tsc.js', '-p', 'test/tsconfig.build.json')
}

// Quiet unless it fails.
async function run(script: string, ...args: string[]): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, [join(ROOT, script), ...args], {
      cwd: ROOT,
      env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: '1', NO_UPDATE_NOTIFIER: '1' },
    })
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    throw new Error(`${script} ${args.join(' ')} failed\n${stdout ?? ''}${stderr ?? ''}`, { cause: error })
  }
}

async function newestChange(path: string): Promise<number> {
  const entry = await stat(path)
  if (!entry.isDirectory()) return entry.mtimeMs
  const below = await Promise.all((await readdir(path)).map((name) => newestChange(join(path, name))))
  // The folder's own time too: a file that was deleted leaves no other trace.
  return Math.max(entry.mtimeMs, ...below)
}
