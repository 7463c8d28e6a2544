// A registry of the tests' own, as a process on this machine; the engine may use one at 127.0.0.1 without TLS.

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { docker, until } from './stack.ts'

export interface Registry {
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Pushes a local image under a name here; what its tag then means, as `sha256:…`. The local image loses that name again. */
  push(local: string, name: string): Promise<string>
  /** As `push`, an image that the engine does not have: the local one with a layer of its own. */
  pushUnique(local: string, name: string): Promise<string>
  /** The engine forgets the images of this registry, too. */
  stop(): Promise<void>
}

/** Who may use a registry that asks. */
export const LOGIN = { user: 'octo', password: 'hello-registry' }
const HTPASSWD = `${LOGIN.user}:$2y$05$abcdefghijklmnopqrstuudRP6kmuV89dTRQTmnqvDq0ietmCMHye\n`

export interface RegistryOptions {
  /** It wants LOGIN. */
  readonly isPrivate?: boolean
  /** It tells of everything that happens in it there, with this header. */
  readonly notifies?: { readonly url: string; readonly authorization: string }
}

export async function startRegistry(
  port: number,
  { isPrivate = false, notifies }: RegistryOptions = {},
): Promise<Registry> {
  const folder = await mkdtemp('/tmp/ropeway-registry-')
  const address = `127.0.0.1:${port}`
  const config = {
    version: 0.1,
    storage: { filesystem: { rootdirectory: folder } },
    http: { addr: address },
    ...(isPrivate ? { auth: { htpasswd: { realm: 'ropeway', path: join(folder, 'htpasswd') } } } : {}),
    // Nothing is left out that it could tell: whoever listens must see for himself what matters.
    ...(notifies === undefined
      ? {}
      : {
          notifications: {
            endpoints: [
              {
                name: 'ropeway',
                url: notifies.url,
                headers: { Authorization: [notifies.authorization] },
                timeout: '5s',
                threshold: 5,
                backoff: '1s',
              },
            ],
          },
        }),
  }
  const basic = Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64')
  const authorization: Record<string, string> = isPrivate ? { authorization: `Basic ${basic}` } : {}
  await writeFile(join(folder, 'htpasswd'), HTPASSWD)
  // JSON is YAML.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config))
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const digestOf = async (name: string) => {
    const [repository, tag] = name.split(':')
    const response = await fetch(`http://${address}/v2/${repository}/manifests/${tag}`, {
      method: 'HEAD',
      headers: {
        ...authorization,
        accept:
          'application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.v2+json',
      },
    })
    return response.headers.get('docker-content-digest') ?? ''
  }
  await until(
    async () => (await fetch(`http://${address}/v2/`, { headers: authorization })).ok,
    'the registry answers',
  )
  const push = async (ref: string, name: string) => {
    await docker('push', ref)
    const digest = await digestOf(name)
    await docker('rmi', ref)
    return digest
  }
  return {
    address,
    async push(local, name) {
      await docker('tag', local, `${address}/${name}`)
      return await push(`${address}/${name}`, name)
    },
    async pushUnique(local, name) {
      const context = await mkdtemp('/tmp/ropeway-image-')
      await writeFile(join(context, 'Dockerfile'), `FROM ${local}\nCOPY unique /unique\n`)
      await writeFile(join(context, 'unique'), randomBytes(1024))
      await docker('build', '-q', '-t', `${address}/${name}`, context)
      await rm(context, { recursive: true })
      return await push(`${address}/${name}`, name)
    },
    async stop() {
      try {
        // A name at a time: with the last tag of an image its digests go too.
        const filter = `reference=${address}/*`
        const names = '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}'
        const firstLeft = async () => {
          const refs = (await docker('images', '--digests', '--filter', filter, '--format', names)).split(
            /\s+/,
          )
          return refs.find((ref) => ref !== '' && !ref.includes('<none>'))
        }
        for (let ref = await firstLeft(); ref !== undefined; ref = await firstLeft()) await docker('rmi', ref)
      } finally {
        child.kill()
        await exited
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}
