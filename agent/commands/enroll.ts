// `ropeway enroll`: makes the host's key and tells the relay its public half. Safe to repeat.

import { publicKeySchema } from '../../shared/api.ts'
import { enroll } from '../api.ts'
import { keyPath, loadOrCreateKey } from '../identity.ts'
import { readConfig } from './access.ts'
import { enrollKeyOf } from './enroll-key.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export async function run(options: ConfigOptions, io: Io): Promise<number> {
  const { relay, host } = await readConfig(options, io)
  const enrollKey = enrollKeyOf(io.env)
  const { publicJwk } = await loadOrCreateKey(options.data)
  const { status } = await enroll({ relay, host }, publicKeySchema.parse(publicJwk), enrollKey, io.signal)
  if (options.json) print(io, JSON.stringify({ status, relay, host, key: keyPath(options.data) }))
  else
    print(
      io,
      `${host} is ${status === 'enrolled' ? '' : 'already '}enrolled at ${relay} (key in ${keyPath(options.data)})`,
    )
  return EXIT.success
}
