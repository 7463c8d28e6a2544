// The steps of a durable write, for files that must be there whole or not at all: a new file beside the old one, made durable, then renamed
// over it. Who owns a file and what becomes of a new one after a failure is for its writer to say.

import { open, rename, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface NewFile {
  readonly mode: number
  /** `wx` refuses where there is such a file, `w` overwrites it. */
  readonly flags: 'w' | 'wx'
  /** Before anything is in it. */
  readonly prepare?: (file: FileHandle) => Promise<void>
}

/** Its bytes are on the disk when it resolves. Its name is not, before its folder is synced. */
export async function writeNew(
  path: string,
  content: string | Uint8Array,
  { mode, flags, prepare }: NewFile,
): Promise<void> {
  const file = await open(path, flags, mode)
  try {
    await prepare?.(file)
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Puts a file in the place of another in the same folder, durably. */
export async function putInPlace(from: string, to: string): Promise<void> {
  await rename(from, to)
  await syncFolder(dirname(to))
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  await folder.sync().finally(() => folder.close())
}
