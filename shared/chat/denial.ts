// Why somebody does not get what they said to a bot, as facts: words.ts makes the sentences.

/** Why a text is no command. */
export type CommandFault =
  | { readonly code: 'too-long' }
  | { readonly code: 'verb-unknown'; readonly verb: string }
  | { readonly code: 'stack-missing'; readonly stacks: readonly string[] }
  | { readonly code: 'stack-unknown'; readonly stack: string }
  | { readonly code: 'tag-invalid'; readonly tag: string }
  /** It has more words than its verb takes. */
  | { readonly code: 'too-many-words'; readonly verb: 'status' | 'history' | 'rollback' | 'deploy' }

/** Why a click does not approve a request. */
type ApprovalFault =
  { readonly code: 'not-approved' } | { readonly code: 'own-request' } | { readonly code: 'approved-late' }

export type Denial =
  | CommandFault
  | ApprovalFault
  /** The channel is not one of the chat's. */
  | { readonly code: 'elsewhere' }
  /** `rollback` is the command, `go-back` the button. */
  | {
      readonly code: 'not-allowed'
      readonly to: 'deploy' | 'rollback' | 'go-back' | 'decide'
      readonly stack: string
    }
  | { readonly code: 'deploy-unknown' }
  /** A tag was named, and ropeway.yml allows no single repository that it could be of. */
  | { readonly code: 'repository-unknown'; readonly stack: string }

/** Whether it is about who spoke, or where. The host's people are told of those. */
export function isForbidden({ code }: Denial): boolean {
  return code === 'elsewhere' || code === 'not-allowed'
}
