// Sweeps make the same few edits thousands of times. The edit is pure, so its answers are kept.

export function memoized<A extends readonly unknown[], R>(pure: (...args: A) => R): (...args: A) => R {
  const known = new Map<string, R>()
  return (...args) => {
    const key = JSON.stringify(args)
    const answer = known.get(key)
    if (answer !== undefined) return answer
    const made = pure(...args)
    known.set(key, made)
    return made
  }
}
