// Which tags of a repository deploy: some by name or by a pattern, or versions within a range.

import { isInRange, isLower } from '../version.ts'

interface TagRule {
  /** Each exact, or with `*` for any characters. Undefined: `semver` says it. */
  readonly tags?: readonly string[] | undefined
  readonly semver?: string | undefined
}

export function isTagOf({ tags = [], semver }: TagRule, tag: string): boolean {
  return semver === undefined ? tags.some((pattern) => fits(pattern, tag)) : isInRange(tag, semver)
}

/** Whether the order of two pushes matters: of one tag alone, what it means now is what counts. */
export function isOrdered({ tags = [], semver }: TagRule): boolean {
  return semver !== undefined || tags.length !== 1 || tags.some((pattern) => pattern.includes('*'))
}

/** Of several that fit the one to deploy: the highest version, or the last. */
export function bestOf<T extends { readonly tag: string }>(
  { semver }: TagRule,
  pushes: readonly T[],
): T | undefined {
  if (semver === undefined) return pushes.at(-1)
  return pushes.toSorted((a, b) => (isLower(a.tag, b.tag) ? -1 : 1)).at(-1)
}

// By parts, for a pattern made into a regular expression could take a tag apart in exponentially many ways.
function fits(pattern: string, tag: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop()
  if (last === undefined) return tag === pattern
  if (!tag.startsWith(first) || !tag.endsWith(last) || tag.length < first.length + last.length) return false
  let at = first.length
  for (const part of rest) {
    const found = tag.indexOf(part, at)
    if (found < 0 || found + part.length > tag.length - last.length) return false
    at = found + part.length
  }
  return true
}
