// A ropeway.yml with one stack and one trigger, on the disk.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '../../support/host.ts'

/** `trigger` is one line of YAML. Where the file is. */
export function writeConfig(trigger: string, name = 'push'): string {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  const path = join(dir, 'ropeway.yml')
  writeFileSync(
    path,
    `relay: https://relay.example
host: vps-1
stacks:
  hello:
    compose: ./docker-compose.yml
    triggers:
      ${name}: ${trigger}
`,
  )
  return path
}
