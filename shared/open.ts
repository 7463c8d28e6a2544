// What the wire keeps of kinds that it does not know, since a neighbour may be newer. PROTOCOL.md says what is open, and what is not.

import { z } from 'zod'

/** What names a kind, a type or a code on the wire. */
const WORD_PATTERN = /^[a-z][a-z0-9-]{0,63}$/

export const wordSchema = z.string().regex(WORD_PATTERN)

/** A word that this version does not know. Its type is a form that no known word has, so that a `switch` tells them apart. */
export type UnknownWord = `unknown ${string}`

/** Any word but these: what is of a known kind and malformed must not pass as something new. */
export function unknownWord(known: readonly string[]): z.ZodType<UnknownWord, string> {
  const schema: z.ZodType<string, string> = wordSchema.refine((word) => !known.includes(word), 'is known')
  return schema as z.ZodType<UnknownWord, string>
}

/** One of these words, or one that this version does not know. */
export function openEnum<const W extends string>(known: readonly W[]) {
  return z.union([z.enum(known), unknownWord(known)])
}

/** The words that tell a union's members apart. */
export function wordsOf(union: z.ZodDiscriminatedUnion, key: string): string[] {
  return union.options.map((option) =>
    String((option as z.ZodObject<Record<string, z.ZodLiteral>>).shape[key]?.value),
  )
}

/** The first thing that is wrong, and its path. Of what may be known or not, it says why it is not the known. */
export function firstFault({ issues: [issue] }: z.core.$ZodError): { path: PropertyKey[]; message: string } {
  if (!issue) return { path: [], message: 'is malformed' }
  const [first] = issue.code === 'invalid_union' ? issue.errors : []
  if (!first?.[0]) return { path: issue.path, message: issue.message }
  const { path, message } = firstFault({ issues: first } as z.core.$ZodError)
  return { path: [...issue.path, ...path], message }
}
