// `ropeway enroll`: makes the host's key and tells the relay its public half. Safe to repeat.

import { publicKeySchema } from '../../shared/api.ts'
import { Problem } from '../../shared/problems.ts'
import { enroll } from './api/api.ts'
import { keyPath, loadOrCreateKey } from '../identity/identity.ts'
import { isRotating } from '../identity/rotation.ts'
import { readConfig } from './access.ts'
import { enrollKeyOf } from './enroll-key.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export async function run(options: ConfigOptions, io: Io): Promise<number> {
  const { relay, host } = await readConfig(options, io)
  const enrollKey = enrollKeyOf(io.env)
  const { publicJwk } = await loadOrCreateKey(options.data)
  const publicKey = publicKeySchema.parse(publicJwk)
  const { status } = await enroll({ relay, host }, publicKey, enrollKey, io.signal).catch(
    async (error: unknown) => {
      const isTaken = error instanceof Problem && error.code === 'host-taken'
      if (!isTaken || !(await isRotating(options.data))) throw error
      throw new Problem('host-taken', error.message, {
        cause: error,
        cure: 'run `ropeway rotate-key`: a rotation was interrupted, and the relay may know the next key already',
      })
    },
  )
  if (options.json) print(io, JSON.stringify({ status, relay, host, key: keyPath(options.data) }))
  else
    print(
      io,
      `${host} is ${status === 'enrolled' ? '' : 'already '}enrolled at ${relay} (key in ${keyPath(options.data)})`,
    )
  return EXIT.success
}
