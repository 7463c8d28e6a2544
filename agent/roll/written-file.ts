// A file of the user's that a roll writes: what it holds by our own last write is known, so that what anybody else writes there meanwhile is
// noticed, and never overwritten.

import type { Problem } from '../../shared/problems.ts'
import type { Encoding, Files } from '../ports.ts'

export type How = 'in-place' | 'rename'

export class WrittenFile {
  readonly path: string
  readonly #files: Pick<Files, 'read' | 'write' | 'tidy' | 'checkWritable'>
  readonly #how: How
  readonly #encoding: Encoding
  #text: string

  constructor(
    files: Pick<Files, 'read' | 'write' | 'tidy' | 'checkWritable'>,
    { path, how, encoding, text }: { path: string; how: How; encoding: Encoding; text: string },
  ) {
    this.#files = files
    this.path = path
    this.#how = how
    this.#encoding = encoding
    this.#text = text
  }

  /** What it holds by our own last write; before one, what was read first. */
  get text(): string {
    return this.#text
  }

  async read(): Promise<string> {
    return await this.#files.read(this.path, this.#encoding)
  }

  /** After a crash: takes what it holds now for our own. One that cannot be read is as good as one that somebody else has written. */
  async resume(): Promise<string> {
    this.#text = await this.read().catch(() => '')
    return this.#text
  }

  /**
   * Writes it, durably. Where a write fails after the file has the text, as by a disk that cannot sync, the text counts as written. Throws what
   * `changed` makes rather than overwrite what somebody else has written meanwhile.
   */
  async write(text: string, changed: () => Problem): Promise<void> {
    const current = await this.read()
    if (current !== text && current !== this.#text) throw changed()
    if (current !== text) await this.#put(text)
    this.#text = text
  }

  async tidy(): Promise<void> {
    await this.#files.tidy(this.path)
  }

  async checkWritable(): Promise<void> {
    await this.#files.checkWritable(this.path, this.#how)
  }

  async #put(text: string): Promise<void> {
    try {
      await this.#files.write(this.path, text, this.#how, this.#encoding)
    } catch (error) {
      if ((await this.read().catch(() => undefined)) === text) this.#text = text
      throw error
    }
  }
}
