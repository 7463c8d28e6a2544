// `ropeway rotate-key`: a new key in the place of the host's present one. Run again, it finishes what was interrupted.

import { publicKeySchema, type Rotation } from '../../shared/api.ts'
import { HOST_KEYS_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { TOKEN_TTL_SECONDS_MAX } from '../../shared/tokens.ts'
import { rotateKey, type Access } from './api/api.ts'
import { parseLifetime } from '../config/values.ts'
import { keyPath } from '../identity/identity.ts'
import { rotate, type RotationKeys } from '../identity/rotation.ts'
import { hostToken, readConfig } from './access.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export interface RotateOptions extends ConfigOptions {
  readonly keep: string
}

export async function run(options: RotateOptions, io: Io): Promise<number> {
  const keepSeconds = secondsOf(options.keep)
  const { relay, host } = await readConfig(options, io)
  const once = () =>
    rotate(options.data, { keepMs: keepSeconds * 1000, signal: io.signal }, (keys) =>
      register({ relay, host }, keys, keepSeconds, io.signal),
    )
  let done = await once()
  // The interrupted run may have told the relay to keep former keys for longer than this run asks for. Another rotation corrects that.
  if (done.isResumed && done.answer.keys > 1 + done.kept.length) done = { ...(await once()), isResumed: true }
  const until = keepSeconds === 0 ? null : Date.now() + keepSeconds * 1000
  const { isResumed, kept } = done
  if (options.json)
    print(
      io,
      JSON.stringify({ host, relay, key: keyPath(options.data), isResumed, formerKeys: kept.length, until }),
    )
  else {
    print(io, `${host} has a new key at ${relay}${isResumed ? ': the interrupted rotation is finished' : ''}`)
    print(
      io,
      until === null
        ? 'no token that was made before counts any more'
        : `tokens that were made before count until ${new Date(until).toISOString()}`,
    )
  }
  return EXIT.success
}

async function register(
  access: Access,
  { present, next, kept }: RotationKeys,
  keepSeconds: number,
  signal: AbortSignal,
): Promise<{ keys: number }> {
  if (kept.length >= HOST_KEYS_MAX)
    throw new Problem('usage-invalid', `${HOST_KEYS_MAX - 1} former keys of this host count still`, {
      cure: 'wait until one has expired, or end them all: `ropeway rotate-key --keep 0s`',
    })
  const rotation: Rotation = { publicKey: publicKeySchema.parse(next.publicJwk), keepSeconds }
  const send = async (key: typeof present) =>
    rotateKey(access, rotation, await hostToken(key, access, { scopes: ['agent'] }), signal)
  try {
    return await send(present)
  } catch (error) {
    if (!(error instanceof Problem && error.code === 'unauthorized')) throw error
    // Where the answer to an earlier run was lost, the relay has replaced the key already and accepts only the next one. If it refuses that one as
    // well, its first refusal is reported.
    return await send(next).catch((again: unknown) => {
      throw again instanceof Problem && again.code === 'unauthorized' ? error : again
    })
  }
}

function secondsOf(text: string): number {
  const seconds = (parseLifetime(text) ?? NaN) / 1000
  if (Number.isInteger(seconds) && seconds <= TOKEN_TTL_SECONDS_MAX) return seconds
  throw new Problem('usage-invalid', `--keep ${text} is not a time as 0s, 24h or 30d, at most 366d`)
}
