// A host's file system: paths that lead to inodes, which is all that tells an in-place write from a rename.

import { decoded } from '../../../agent/nginx/config/bytes.ts'
import type { Encoding, Files } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'

export interface Inode {
  /** One character a byte. */
  text: string
}

export class FakeFiles implements Files {
  readonly #inodes = new Map<string, Inode>()
  readonly #links = new Map<string, string>()
  /** Files that a write in place has left half written, since nobody was there to finish it. */
  readonly #torn = new Set<string>()
  /** The paths that there were at the beginning. */
  readonly #own: ReadonlySet<string>
  #isFull = false
  /** Files that nobody may write. */
  readonly readOnly = new Set<string>()
  writes = 0

  constructor(texts: Readonly<Record<string, string>>, links: Readonly<Record<string, string>> = {}) {
    for (const [path, text] of Object.entries(texts)) this.replace(path, text)
    for (const [path, target] of Object.entries(links)) this.#links.set(path, target)
    this.#own = new Set(this.#inodes.keys())
  }

  /** As a bind mount pins it: later renames over the path do not reach it. */
  inode(path: string): Inode {
    const inode = this.#inodes.get(this.#target(path))
    if (!inode) throw new Problem('file-unusable', `${path} cannot be read: ENOENT: no such file`)
    return inode
  }

  /** What lies beside the user's files. */
  leftovers(): string[] {
    return [...this.#inodes.keys()].filter((path) => !this.#own.has(path))
  }

  text(path: string): string {
    return decoded(this.inode(path).text)
  }

  paths(folder: string): string[] {
    return [...this.#inodes.keys()].filter((path) => path.startsWith(`${folder}/`)).toSorted()
  }

  link(path: string, target: string): void {
    this.#links.set(path, target)
  }

  #target(path: string): string {
    return this.#links.get(path) ?? path
  }

  /** What somebody else does, by an editor that replaces the file. */
  replace(path: string, text: string): void {
    this.#inodes.set(path, { text: bytesOf(text, 'utf-8') })
  }

  async read(path: string, encoding: Encoding = 'utf-8'): Promise<string> {
    const { text } = this.inode(path)
    if (encoding === 'bytes') return text
    const read = decoded(text)
    // Only what is no UTF-8 comes back as it is.
    if (read === text && /[\x80-\xff]/.test(text))
      throw new Problem('compose-invalid', `${path} is not UTF-8`)
    return read
  }

  /** `share`: the part of it that is written before whoever writes is gone. */
  async write(
    path: string,
    written: string,
    how: 'in-place' | 'rename',
    encoding: Encoding = 'utf-8',
    share = 1,
  ): Promise<void> {
    this.writes += 1
    await this.checkWritable(path)
    const inode = this.inode(path)
    if (how === 'rename') this.#inodes.delete(newFile(this.#target(path)))
    const text = bytesOf(written, encoding)
    // The real one gives the old bytes back, which still fit.
    if (this.#isFull && text.length > inode.text.length)
      throw new Problem('file-unusable', `${path} cannot be written: ENOSPC: no space left on device`)
    if (share < 1) {
      if (how === 'rename') {
        this.#inodes.set(newFile(this.#target(path)), { text: text.slice(0, text.length * share) })
        return
      }
      inode.text = tornText(inode.text, text, share)
      this.#torn.add(path)
      return
    }
    this.#torn.delete(path)
    if (how === 'in-place') inode.text = text
    else this.#inodes.set(this.#target(path), { text })
  }

  /** Whether a file is half written at the moment. */
  get isTorn(): boolean {
    return this.#torn.size > 0
  }

  /** From now on the disk has no room for a longer text; or has again. */
  fill(isFull: boolean): void {
    this.#isFull = isFull
  }

  async checkWritable(path: string): Promise<void> {
    this.inode(path)
    if (this.readOnly.has(path))
      throw new Problem('file-unusable', `${path} cannot be written: EROFS: read-only file system`)
  }

  async tidy(path: string): Promise<void> {
    this.#inodes.delete(newFile(this.#target(path)))
  }

  async real(path: string): Promise<string> {
    this.inode(path)
    return this.#target(path)
  }
}

// As the real one calls it.
function newFile(path: string): string {
  return path.replace(/[^/]*$/, '.$&.ropeway-new')
}

// Somewhere after the first change, so that it is neither text.
function tornText(before: string, after: string, share: number): string {
  const start = [...after].findIndex((byte, index) => byte !== before[index])
  const at = start < 0 ? after.length : start + 1 + Math.floor((after.length - start) * share)
  return after.slice(0, at) + before.slice(at)
}

function bytesOf(text: string, encoding: Encoding): string {
  return encoding === 'bytes' ? text : Buffer.from(text).toString('latin1')
}
