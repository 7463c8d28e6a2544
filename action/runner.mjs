// The runner that a job's step runs on: its log, its commands, its files. What comes from the relay goes through here, and can start
// no command: the runner takes any line that begins with `::`, and any `##[` within one, for one.
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands

import { appendFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'

/** One line, whatever it was: without what breaks lines, moves a cursor, or turns the direction of writing. */
export const plain = (/** @type {unknown} */ text) =>
  String(text)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replaceAll('##[', '## [')

/** As plain, line by line. */
const lines = (/** @type {string} */ text) => text.split(/\r\n|[\n\r\u2028\u2029]/).map(plain)

/** A text as markdown and HTML show it: no character of it is anything but itself. */
export const shown = (/** @type {unknown} */ text) =>
  plain(text).replace(/[^\p{L}\p{N} ]/gu, (char) => `&#${char.codePointAt(0)};`)

/** GitHub takes 1 MiB of a summary or nothing. No honest one is a tenth as long. */
const SUMMARY_CHARS_MAX = 250_000

export class Runner {
  /** @param {NodeJS.ProcessEnv} env */
  constructor(env) {
    this.env = env
    this.isGroupOpen = false
  }

  /**
   * @param {string} text
   * @param {number} [at] milliseconds since 1970
   */
  log(text, at = Date.now()) {
    const time = new Date(Math.abs(at) < 8.64e15 ? at : Date.now()).toISOString().slice(11, 19)
    // Each line begins with something of ours.
    for (const [index, line] of lines(text).entries())
      write(index === 0 ? `${time} ${line}` : `${' '.repeat(time.length)} | ${line}`)
  }

  /** @param {string} title */
  group(title) {
    this.endGroup()
    this.#command('group', plain(title))
    this.isGroupOpen = true
  }

  endGroup() {
    if (this.isGroupOpen) this.#command('endgroup')
    this.isGroupOpen = false
  }

  /**
   * @param {'error' | 'warning' | 'notice'} level
   * @param {string} text
   */
  annotate(level, text) {
    this.#command(`${level} title=Ropeway`, lines(text).join('\n'))
  }

  /** Keeps it out of every log. @param {string} secret */
  mask(secret) {
    this.#command('add-mask', secret)
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  output(name, value) {
    // Nobody can guess the delimiter, so no value can end before its end.
    const end = `end-${randomUUID()}`
    this.#append('GITHUB_OUTPUT', `${name}<<${end}\n${plain(value)}\n${end}\n`)
  }

  /** @param {string} markdown */
  summarize(markdown) {
    this.#append('GITHUB_STEP_SUMMARY', `${markdown.slice(0, SUMMARY_CHARS_MAX)}\n`)
  }

  /**
   * @param {string} command
   * @param {string} [data]
   */
  #command(command, data = '') {
    const escaped = data.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
    write(`::${command}::${escaped}`)
  }

  /**
   * @param {string} variable
   * @param {string} text
   */
  #append(variable, text) {
    const path = this.env[variable]
    if (path) appendFileSync(path, text)
  }
}

function write(/** @type {string} */ line) {
  process.stdout.write(`${line}\n`)
}
