// The machine on which the numbers were made, and how quiet it was.

import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { docker } from '../support/stack.ts'
import { printText } from './report.ts'

const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
const versions = [
  ...(process.argv.includes('--without-engine') ? [] : await engineVersions()),
  `Node ${process.version}`,
  `Linux ${release().split('-')[0]}`,
]
printText(
  `Machine: ${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${memory}; ${versions.join(', ')}.`,
  `Load average when it began: ${loadavg()[0]?.toFixed(2)} (well below 1 on a machine that was left alone).`,
)

async function engineVersions(): Promise<string[]> {
  const nginx = await docker('run', '--rm', '--network', 'none', 'nginx:1.30', 'sh', '-c', 'nginx -v 2>&1')
  const engine = await docker('version', '--format', '{{.Server.Version}}')
  const compose = await docker('compose', 'version', '--short')
  return [
    `Docker engine ${engine.split('+')[0]}`,
    `compose ${compose.split(/[+-]/)[0]}`,
    `nginx ${nginx.split('/')[1]?.split(' ')[0]}`,
  ]
}
