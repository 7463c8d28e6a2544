// A host's file system: paths that lead to inodes, which is all that tells an in-place write from a rename.

import type { Files } from '../../../agent/ports.ts'

export interface Inode {
  text: string
}

export class FakeFiles implements Files {
  readonly #inodes = new Map<string, Inode>()
  writes = 0

  constructor(texts: Readonly<Record<string, string>>) {
    for (const [path, text] of Object.entries(texts)) this.#inodes.set(path, { text })
  }

  /** As a bind mount pins it: later renames over the path do not reach it. */
  inode(path: string): Inode {
    const inode = this.#inodes.get(path)
    if (!inode) throw Object.assign(new Error(`ENOENT: no such file ${path}`), { code: 'ENOENT' })
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

  async write(path: string, text: string, how: 'in-place' | 'rename'): Promise<void> {
    this.writes += 1
    if (how === 'in-place') this.inode(path).text = text
    else {
      this.inode(path)
      this.#inodes.set(path, { text })
    }
  }

  async real(path: string): Promise<string> {
    this.inode(path)
    return path
  }
}
