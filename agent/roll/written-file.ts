// A file of the user's that a roll writes. It knows what the roll wrote last, so it notices what somebody else writes meanwhile, and never overwrites
// that.

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

  /** The text by the roll's last write; before the first write, the text that was read. */
  get text(): string {
    return this.#text
  }

  async read(): Promise<string> {
    return await this.#files.read(this.path, this.#encoding)
  }

  /** After a crash: takes the file's text for the roll's own. A file that cannot be read counts as empty, which no step wrote. */
  async resume(): Promise<string> {
    this.#text = await this.read().catch(() => '')
    return this.#text
  }

  /**
   * Writes the text durably. Throws what `changed` makes where somebody else has written the file, and leaves it alone. Where a write fails after the
   * file has the text, as on a disk that cannot sync, it throws, but the text counts as written.
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
