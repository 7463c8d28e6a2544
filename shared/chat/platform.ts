// What there is to know of a chat platform: how its requests are proven and read, how it is answered, and how a message of ours is shown
// and edited there. One file each, all of it pure: whoever has a network carries the calls out (worker/hub/chat).

import type { SignedRequest } from '../triggers/verified.ts'

/**
 * Where an answer goes, in the platform's own terms. It is kept with the message that is edited there. `askedAt` is added, when it was asked
 * for, and `hook`, where the platform posts to.
 */
export type MessagePlace = Readonly<Record<string, string | number>>

/** Who speaks, and where. Ids, never names: names can be changed. */
export interface Who {
  readonly team: string | undefined
  readonly channel: string
  readonly user: string
  /** For people to read, and for nothing else. */
  readonly name: string
}

export type Interaction =
  /** The platform asks for something of its own, and gets this for an answer. */
  | { readonly kind: 'greeting'; readonly answer: object | undefined }
  /** `id` is the platform's own, the same for each delivery. */
  | {
      readonly kind: 'command'
      readonly id: string
      readonly who: Who
      readonly text: string
      readonly place: MessagePlace
    }
  | { readonly kind: 'click'; readonly who: Who; readonly button: string; readonly place: MessagePlace }

export interface Button {
  readonly label: string
  /** Opaque to the platform, and at most 64 bytes: Telegram carries no more. */
  readonly value: string
  readonly isDangerous?: boolean
}

/** A message as plain text. Nothing in it may format, link or mention: each platform escapes it as a whole. */
export interface Message {
  readonly lines: readonly string[]
  readonly buttons: readonly Button[]
  /** Nothing comes after it. */
  readonly isFinal: boolean
}

/** An HTTP request to be made. */
export interface Call {
  readonly method: 'POST' | 'PATCH' | 'PUT'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: object
}

/** What came back. `body` is whatever JSON it was. */
export interface CallAnswer {
  readonly status: number
  readonly retryAfterSeconds: number | undefined
  readonly body: unknown
}

/** The answer to the platform's request, and, where that cannot carry the words, a call that does. */
interface Reply {
  readonly answer: object | undefined
  readonly call?: Call
}

/** What a configured chat has that calls are made with. */
export interface Account {
  readonly keys: readonly string[]
  readonly token?: string | undefined
  /** The origin of a server of one's own. */
  readonly server?: string | undefined
}

export interface Platform {
  readonly name: string
  /** The headers that prove a request: just these are stored and forwarded. */
  readonly headers: readonly string[]
  readonly body: 'form' | 'json' | 'both'
  /** What ropeway.yml calls the keys that requests are verified with, and why one cannot be used. */
  readonly keyName: 'secret' | 'publicKey'
  readonly keyFault: (key: string) => string | undefined
  /** Whether a bot's token is needed, for the platform gives no other way to answer. */
  readonly needsToken: boolean
  readonly tokenFault: (token: string) => string | undefined
  /** Whether ropeway.yml must say where the server is. */
  readonly hasServer: boolean
  readonly hasButtons: boolean
  /** Whether the platform repeats a request that was refused, and holds back all others until then. A genuine one that is too old then gets 200. */
  readonly repeatsRefused: boolean
  /** The forms of the ids that ropeway.yml lists. `team` undefined: the platform has none. */
  readonly ids: { readonly team: RegExp | undefined; readonly channel: RegExp; readonly user: RegExp }
  /**
   * The key that a request was proven with, and when it was signed, in milliseconds; undefined where the platform signs no time. Throws
   * `unauthorized`.
   */
  readonly verify: (
    request: SignedRequest,
    keys: readonly string[],
  ) => Promise<{ key: string; signedAt: number | undefined }>
  /** What a proven request says. Throws `request-invalid`. */
  readonly read: (request: SignedRequest) => Interaction
  /**
   * The answer, which the platform waits for. `private`: only whoever spoke sees it. `start`: it is the first version of the message that `show`
   * edits, where the platform lets an answer be edited.
   */
  readonly reply: (interaction: Interaction, message: Message, as: 'private' | 'start') => Reply
  /** How long after the answer a deploy's message is first shown. 0 where it is a message of its own; undefined where there is none. */
  readonly firstShowMs: number | undefined
  /** The only hosts that may be called. */
  readonly hosts: (account: Account) => readonly string[]
  /** The call that shows a message at its place, for the first time or again; undefined where the platform allows no more. */
  readonly show: (
    place: MessagePlace,
    message: Message,
    account: Account,
    now: number,
  ) => Call | undefined | Promise<Call | undefined>
  /**
   * What an answer to `show` means. It is shown, and edited at this place from now on; or it is not shown, and may be tried at this other place;
   * or it may be tried again later; or it never will be shown.
   */
  readonly shown: (
    place: MessagePlace,
    answer: CallAnswer,
  ) =>
    | { readonly place: MessagePlace; readonly isShown: boolean }
    | { readonly again: true }
    | { readonly hopeless: string }
}

/** A message's text, cut to what the platform takes. */
export function textOf({ lines }: Message, charsMax: number): string {
  const text = lines.join('\n')
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}

const FENCE_CHARS = 20

/**
 * The text in a code block of Markdown, where nothing is formatted, linked or mentioned. Three backticks would end the block, so a space
 * without width is put between them.
 */
export function fenced(message: Message, charsMax: number): string {
  const most = charsMax - FENCE_CHARS
  return `\`\`\`text\n${textOf(message, most).replaceAll('``', '`\u200B`').slice(0, most)}\n\`\`\``
}
