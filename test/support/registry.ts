// A registry of the tests' own, as a process on this machine; the engine may use one at 127.0.0.1 without TLS.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { docker, until } from './stack.ts'

export interface Registry {
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Pushes a local image under a name here; what its tag then means, as `sha256:…`. The local image loses that name again. */
  push(local: string, name: string): Promise<string>
  stop(): Promise<void>
}

export async function startRegistry(port: number): Promise<Registry> {
  const folder = await mkdtemp('/tmp/ropeway-registry-')
  const address = `127.0.0.1:${port}`
  const config = { version: 0.1, storage: { filesystem: { rootdirectory: folder } }, http: { addr: address } }
  // JSON is YAML.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config))
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const digestOf = async (name: string) => {
    const [repository, tag] = name.split(':')
    const response = await fetch(`http://${address}/v2/${repository}/manifests/${tag}`, {
      method: 'HEAD',
      headers: {
        accept:
          'application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.v2+json',
      },
    })
    return response.headers.get('docker-content-digest') ?? ''
  }
  await until(async () => (await fetch(`http://${address}/v2/`)).ok, 'the registry answers')
  return {
    address,
    async push(local, name) {
      const ref = `${address}/${name}`
      await docker('tag', local, ref)
      await docker('push', ref)
      const digest = await digestOf(name)
      await docker('rmi', ref)
      return digest
    },
    async stop() {
      child.kill()
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}
