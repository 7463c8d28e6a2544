// What the two drivers try, to say whose a written text is.

/** Every subset of these values, the empty one first: 2^N of them, so the caller bounds N. */
export function subsetsOf<T>(values: readonly T[]): T[][] {
  return values.reduce<T[][]>((sets, value) => [...sets, ...sets.map((set) => [...set, value])], [[]])
}
