// Texts that fit: escaped for where they go, and cut to what it takes. Pure.

/** So that whoever reads it knows that there was more. */
const CUT = '…'

/**
 * A text with each of its characters escaped, and no longer than `max` afterwards. What is escaped is never cut through, nor is a character
 * that takes two units: half of either would be another text, or none.
 */
export function fit(
  text: string,
  max: number,
  escape: (character: string) => string = (each) => each,
): string {
  const pieces = Array.from(text.toWellFormed(), escape)
  let length = 0
  const end = pieces.findIndex((piece, index) => {
    length += piece.length
    const isLast = index === pieces.length - 1
    return length > (isLast ? max : max - CUT.length)
  })
  return end < 0 ? pieces.join('') : `${pieces.slice(0, end).join('')}${CUT}`.slice(0, Math.max(0, max))
}
