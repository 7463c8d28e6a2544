// A word of a command for a person to copy.

/** The text as one word of a shell, quoted where it has to be. */
export function quoted(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
