// How a value is written, so that every parser reads it as that string, and compose finds no variable in it.

import { isScalar, type Scalar } from 'yaml'
import { Problem } from '../../../shared/problems.ts'

export type Style = 'plain' | 'single' | 'double'

export function styleOf(node: unknown): Style {
  const type = isScalar(node) ? (node as Scalar).type : undefined
  return type === 'QUOTE_SINGLE' ? 'single' : type === 'QUOTE_DOUBLE' ? 'double' : 'plain'
}

/** The value as compose's own syntax has it: `$$` for a dollar. Throws `request-invalid` for what is no text. */
export function escaped(value: string): string {
  if (!value.isWellFormed()) throw new Problem('request-invalid', 'a value holds half a Unicode character')
  // A function as the replacement: in a string, `$$` means one dollar.
  return value.replaceAll('$', () => '$$')
}

/** `key: value`, each in its style where that can hold it. */
export function entry(
  [key, value]: readonly [string, string],
  inFlow: boolean,
  style: Style,
  keyStyle = style,
) {
  return `${scalar(key, keyStyle, inFlow)}: ${scalar(value, style, inFlow)}`
}

export const flowMap = (entries: readonly string[]) => `{${entries.join(', ')}}`

/** The value as a YAML scalar that is this string for every parser: in the wanted style where that can hold it. */
export function scalar(value: string, style: Style, inFlow: boolean): string {
  if (style === 'double' || !isPrintable(value)) return `"${value.replace(UNSAFE_IN_DOUBLE, escapedChar)}"`
  if (style === 'plain' && isPlain(value, inFlow)) return value
  return `'${value.replaceAll("'", "''")}'`
}

// compose's parser refuses other characters unless they are escaped, and a line break would be folded.
const UNPRINTABLE =
  '[^\\t\\x20-\\x7E\\xA0-\\u2027\\u202A-\\uD7FF\\uE000-\\uFEFE\\uFF00-\\uFFFD\\u{10000}-\\u{10FFFF}]'
const UNSAFE_IN_DOUBLE = new RegExp(`["\\\\\\t]|${UNPRINTABLE}`, 'gu')
const isPrintable = (value: string) => !new RegExp(UNPRINTABLE, 'u').test(value)

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
}

function escapedChar(char: string): string {
  return ESCAPES[char] ?? `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
}

// Narrower than YAML: a value is quoted if any parser of 1.1 or 1.2 takes it for a number, a date, a boolean or null.
function isPlain(value: string, inFlow: boolean): boolean {
  if (!/^[^\s\-?:,[\]{}#&*!|>'"%@`=<~.+](?:.*\S)?$/u.test(value)) return false
  if (/[^\S ]|:(?:\s|$)|\s#/u.test(value)) return false
  if (inFlow && /[,[\]{}?]/.test(value)) return false
  return (
    !/^(?:null|true|false|yes|no|on|off|y|n)$/i.test(value) && !/^\d[\da-foxzt_A-FOXZT.:,+\- ]*$/.test(value)
  )
}
