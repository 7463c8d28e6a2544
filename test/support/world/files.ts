// A host's file system: paths that lead to inodes, which is all that tells an in-place write from a rename.

import { Problem } from '../../../shared/problems.ts'
import type { Files } from '../../../agent/ports.ts'

export interface Inode {
  text: string
}

export class FakeFiles implements Files {
  readonly #inodes = new Map<string, Inode>()
  /** Files that a write in place has left half written, since nobody was there to finish it. */
  readonly #torn = new Set<string>()
  #isFull = false
  /** Files that nobody may write. */
  readonly readOnly = new Set<string>()
  writes = 0

  constructor(texts: Readonly<Record<string, string>>) {
    for (const [path, text] of Object.entries(texts)) this.#inodes.set(path, { text })
  }

  /** As a bind mount pins it: later renames over the path do not reach it. */
  inode(path: string): Inode {
    const inode = this.#inodes.get(path)
    if (!inode) throw new Problem('file-unusable', `${path} cannot be read: ENOENT: no such file`)
    return inode
  }

  text(path: string): string {
    return this.inode(path).text
  }

  paths(folder: string): string[] {
    return [...this.#inodes.keys()].filter((path) => path.startsWith(`${folder}/`)).toSorted()
  }

  /** What somebody else does, by an editor that replaces the file. */
  replace(path: string, text: string): void {
    this.#inodes.set(path, { text })
  }

  async read(path: string): Promise<string> {
    return this.text(path)
  }

  /** `share`: the part of it that is written before whoever writes is gone. */
  async write(path: string, text: string, how: 'in-place' | 'rename', share = 1): Promise<void> {
    this.writes += 1
    await this.checkWritable(path)
    const inode = this.inode(path)
    // The real one gives the old bytes back, which still fit.
    if (this.#isFull && Buffer.byteLength(text) > Buffer.byteLength(inode.text))
      throw new Problem('file-unusable', `${path} cannot be written: ENOSPC: no space left on device`)
    if (share < 1) {
      if (how === 'rename') return
      inode.text = tornText(inode.text, text, share)
      this.#torn.add(path)
      return
    }
    this.#torn.delete(path)
    if (how === 'in-place') inode.text = text
    else this.#inodes.set(path, { text })
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

  /** A fake write is never broken off. */
  async tidy(): Promise<void> {}

  async real(path: string): Promise<string> {
    this.inode(path)
    return path
  }
}

// Byte by byte, as the disk has it: a character may be cut in two. Somewhere after the first change, so that it is neither text.
function tornText(before: string, after: string, share: number): string {
  const [old, next] = [Buffer.from(before), Buffer.from(after)]
  const start = next.findIndex((byte, index) => byte !== old[index])
  const at = start < 0 ? next.length : start + 1 + Math.floor((next.length - start) * share)
  return Buffer.concat([next.subarray(0, at), old.subarray(at)]).toString('utf8')
}
