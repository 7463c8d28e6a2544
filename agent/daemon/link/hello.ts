// The agent's first frame: what the hub must know to verify requests while the agent is away.

import { FRAME_BYTES_MAX, TOKENS_REVOKED_MAX } from '../../../shared/limits.ts'
import { firstFault } from '../../../shared/open.ts'
import { Problem } from '../../../shared/problems.ts'
import { encodeFrame, fromAgentSchema, PROTOCOL_VERSION, type Hello } from '../../../shared/protocol.ts'
import type { Config } from '../../config/config.ts'

export function helloOf(config: Config, version: string, revoked: readonly string[]): Hello {
  return {
    type: 'hello',
    v: PROTOCOL_VERSION,
    agent: version,
    stacks: config.stacks.map(({ name }) => name),
    triggers: config.stacks.flatMap(({ triggers }) => triggers),
    ...(config.chats.length === 0 ? {} : { chats: [...config.chats] }),
    revoked: [...revoked],
  }
}

/** As signToken makes them. */
const TOKEN_ID_CHARS = 36

/**
 * Throws `config-invalid` when the hub would refuse the hello: dialling again would not help. There must be room for as many revoked
 * tokens as there may ever be, for who revokes one must not thereby cut the host off.
 */
export function checkHello(config: Config, version: string): void {
  const hello = helloOf(config, version, Array(TOKENS_REVOKED_MAX).fill('x'.repeat(TOKEN_ID_CHARS)))
  const bytes = Buffer.byteLength(encodeFrame(hello))
  const { success, error } = fromAgentSchema.safeParse(hello)
  if (success && bytes <= FRAME_BYTES_MAX) return
  const why = success
    ? `they take ${bytes} bytes with room for ${TOKENS_REVOKED_MAX} revoked tokens, and at most ${FRAME_BYTES_MAX} go to the relay`
    : firstFault(error).message
  throw new Problem(
    'config-invalid',
    `${config.path} has too much for one host, ${hello.triggers.length} triggers in ${hello.stacks.length} stacks: ${why}`,
    {
      cure: 'remove triggers, as several senders may share one, or give some of the stacks to a second host name',
    },
  )
}
