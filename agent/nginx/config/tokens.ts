// nginx's configuration language as a tree that remembers where every word stands, so that an edit touches nothing else.
// The rules are those of ngx_conf_read_token in nginx's src/core/ngx_conf_file.c.

import { decoded } from './bytes.ts'

/** A word of a directive: `value` as people read it, without quotes and escapes; `[start, end)` in the bytes, with them. */
export interface Word {
  readonly value: string
  readonly start: number
  readonly end: number
}

/** `name arg arg;` or `name arg { … }`. The name is the first word; there is always one. */
export interface Directive {
  readonly name: string
  readonly words: readonly Word[]
  /** Where the name begins. */
  readonly start: number
  /** Where the last word ends: before any comment, and the `;` or `{`. */
  readonly end: number
  readonly block: readonly Directive[] | undefined
}

export interface Tree {
  readonly directives: readonly Directive[]
  /** False where nginx would refuse: a block or quote left open, a word without its `;`, a brace too many. */
  readonly isWhole: boolean
}

// In this order: space, comment, sign, quoted word, quote left open, word. `#`, quotes and `}` mean nothing inside a word, a
// backslash takes the next character with it, and the brace of `${name}` opens no block.
const TOKEN =
  /[ \t\r\n]+|#[^\n]*|[;{}]|"(?:\\[^]|[^"\\])*"|'(?:\\[^]|[^'\\])*'|["'][^]*|(?:\\[^]?|\$\{*|[^ \t\r\n;{\\$])+/y

/** Reads a file, one character a byte. Never throws: nginx judges its syntax, this only finds the way in it. */
export function parseTree(text: string): Tree {
  const root: Directive[] = []
  const open: Directive[][] = []
  let inside = root
  let words: Word[] = []
  let isWhole = true
  let at = 0

  const finish = (block: Directive[] | undefined) => {
    const [name] = words
    if (!name) isWhole = false
    else inside.push({ name: name.value, words, start: name.start, end: (words.at(-1) ?? name).end, block })
    words = []
  }

  while (at < text.length) {
    TOKEN.lastIndex = at
    const token = TOKEN.exec(text)?.[0] ?? ''
    const [start, end] = [at, at + token.length]
    at = end
    switch (token[0]) {
      case ' ':
      case '\t':
      case '\r':
      case '\n':
      case '#':
        break
      case ';':
        finish(undefined)
        break
      case '{': {
        const isLua = words[0]?.value.endsWith('_by_lua_block') === true
        const block: Directive[] = []
        finish(block)
        if (isLua) at = endOfLua(text, end)
        else {
          open.push(inside)
          inside = block
        }
        break
      }
      case '}': {
        const around = open.pop()
        if (words.length > 0 || !around) isWhole = false
        words = []
        inside = around ?? root
        break
      }
      default: {
        // A quote that is left open is a word up to the end of the file, so no `;` comes behind it.
        const isQuoted = token.startsWith('"') || token.startsWith("'")
        words.push({ value: decoded(unescaped(isQuoted ? token.slice(1, -1) : token)), start, end })
      }
    }
  }
  return { directives: root, isWhole: isWhole && open.length === 0 && words.length === 0 }
}

/** The number of the line at an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}

const ESCAPED: Readonly<Record<string, string>> = { t: '\t', r: '\r', n: '\n' }

function unescaped(word: string): string {
  return word.replace(/\\(["'\\trn])/g, (_, char: string) => ESCAPED[char] ?? char)
}

// Comments, long brackets and strings of Lua, in which a brace means nothing; else a brace.
const LUA =
  /--\[(=*)\[[^]*?\]\1\]|--[^\n]*|\[(=*)\[[^]*?\]\2\]|"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'|[{}]/g

// The offset after the brace that closes a block of Lua, or the end of the file.
function endOfLua(text: string, start: number): number {
  let depth = 1
  LUA.lastIndex = start
  for (let match = LUA.exec(text); match; match = LUA.exec(text)) {
    if (match[0] === '{') depth += 1
    else if (match[0] === '}') depth -= 1
    if (depth === 0) return LUA.lastIndex
  }
  return text.length
}
