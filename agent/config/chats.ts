// The chats of ropeway.yml: the bots that people ask, who may ask them for what, and where. What is particular to a platform it says itself.

import { z } from 'zod'
import { CHAT_TYPES, platformOf, type Chat, type ChatType } from '../../shared/chat/chat.ts'
import { CHAT_IDS_MAX, CHATS_MAX, CHAT_TTL_MS } from '../../shared/limits.ts'
import { printOf, secretIn, type FaultOf, type Surroundings } from './secrets.ts'
import { ttlOf } from './triggers.ts'
import { absent, listOf, name, repository } from './values.ts'

/** The old and the new one, while the platform is told the new one. */
const KEYS_MAX = 2

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function chatsSchema(surroundings: Surroundings) {
  const chat = z.discriminatedUnion(
    'type',
    CHAT_TYPES.map((type) => chatOf(type, surroundings)) as [ReturnType<typeof chatOf>],
    { error: `should be ${CHAT_TYPES.join(', ').replace(/, ([^,]*)$/, ' or $1')}` },
  )
  return z
    .record(name, chat)
    .refine((chats) => Object.keys(chats).length <= CHATS_MAX, `has more than ${CHATS_MAX} chats`)
    .superRefine((chats, ctx) => {
      // A chat with a fault of its own is still as it was written.
      const sound = Object.entries(chats).filter(([, said]) => Array.isArray(said.prints))
      const seen = new Map<string, string>()
      for (const [at, { prints, keyName }] of surroundings.env === undefined ? [] : sound)
        for (const print of prints) {
          const first = seen.get(print)
          if (first === undefined) seen.set(print, at)
          else
            ctx.addIssue({
              code: 'custom',
              path: [at, keyName],
              message: `is the same as that of ${first}: whoever has a request to one could repeat it at the other`,
            })
        }
    })
}

/** A chat as ropeway.yml says it. `image` undefined: the one repository that the stack allows, if it is one. */
export type ChatInput = Omit<Chat, 'name'> & { readonly prints: readonly string[]; readonly keyName: string }

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
function chatOf(type: ChatType, surroundings: Surroundings) {
  const platform = platformOf({ type })
  const { team, channel, user } = platform.ids
  const secret = (faultOf: FaultOf) =>
    secretIn(surroundings, faultOf).transform((text) => ({ key: text, print: printOf(text) }))
  const key = secret(platform.keyFault)
  const keys = listOf(platform.keyName === 'publicKey' ? publicKey(platform.keyFault) : key, KEYS_MAX)
  const token = secret(platform.tokenFault)
  const users = idsOf(user, 'user')
  return z
    .strictObject({
      type: z.literal(type),
      [platform.keyName]: keys,
      token: platform.needsToken ? token : token.optional(),
      server: platform.hasServer
        ? server
        : absent('is for a server of one’s own; this platform has one place'),
      teams: team ? idsOf(team, 'team') : absent('is nothing that this platform has'),
      // Anybody can write to a bot where there are no teams.
      channels: team ? idsOf(channel, 'channel').optional() : idsOf(channel, 'channel'),
      stacks: z
        .record(
          name,
          z.strictObject({
            deploy: users.optional(),
            approve: platform.hasButtons
              ? users.optional()
              : absent('needs buttons, which this platform has not'),
            approveOwn: z.boolean().optional(),
            image: repository.optional(),
          }),
        )
        .refine((stacks) => Object.keys(stacks).length > 0, 'has no stack'),
      ttl: ttlOf(CHAT_TTL_MS),
    })
    .transform((said): ChatInput => {
      const found = said[platform.keyName] as unknown as { key: string; print: string }[]
      const bot = said.token as { key: string } | undefined
      return {
        type,
        ttlMs: said.ttl as number,
        keys: found.map((each) => each.key),
        prints: found.map((each) => each.print),
        keyName: platform.keyName,
        ...(bot === undefined ? {} : { token: bot.key }),
        ...(said.server === undefined ? {} : { server: said.server as string }),
        teams: (said.teams ?? []) as string[],
        channels: (said.channels ?? []) as string[],
        stacks: Object.entries(said.stacks as Record<string, ChatStackInput>).map(([stack, of]) => ({
          name: stack,
          deploy: of.deploy ?? [],
          ...(of.image === undefined ? {} : { image: of.image }),
          ...(of.approve === undefined ? {} : { approve: of.approve, approveOwn: of.approveOwn ?? false }),
        })),
      }
    })
}

interface ChatStackInput {
  readonly deploy?: string[] | undefined
  readonly approve?: string[] | undefined
  readonly approveOwn?: boolean | undefined
  readonly image?: string | undefined
}

/** A chat as it goes to the relay. */
export function chatFrom(
  chat: string,
  { prints: _prints, keyName: _keyName, stacks, ...said }: ChatInput,
  imagesOf: (stack: string) => readonly string[] | undefined,
): Chat {
  return {
    ...said,
    name: chat,
    stacks: stacks.map((stack) => {
      const [only, ...others] = imagesOf(stack.name) ?? []
      const image = stack.image ?? (others.length === 0 ? only : undefined)
      return { ...stack, ...(image === undefined ? {} : { image }) }
    }),
  }
}

// YAML reads digits without quotes as a number, which keeps sixteen of them.
const idsOf = (pattern: RegExp, what: string) =>
  listOf(
    z.unknown().transform((value, ctx) => {
      if (typeof value === 'string' && pattern.test(value)) return value
      if (Number.isSafeInteger(value) && pattern.test(String(value))) return String(value)
      ctx.addIssue({ code: 'custom', message: `is not the id of a ${what}; long numbers belong in quotes` })
      return z.NEVER
    }),
    CHAT_IDS_MAX,
  )

const publicKey = (faultOf: (text: string) => string | undefined) =>
  z.string().transform((text, ctx) => {
    const fault = faultOf(text)
    if (fault === undefined) return { key: text, print: text }
    ctx.addIssue({ code: 'custom', message: fault })
    return z.NEVER
  })

const server = z.string().transform((text, ctx) => {
  const url = URL.parse(text)
  if (url?.protocol === 'https:' && url.origin === text.replace(/\/$/, '')) return url.origin
  ctx.addIssue({ code: 'custom', message: 'should be the https address of a server, without a path' })
  return z.NEVER
})
