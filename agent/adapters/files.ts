// The Files port: durable writes that keep what the user's file is: its inode where a container pins it, its owner and mode elsewhere.

import { chmod, chown, open, readFile, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Files } from '../ports.ts'

export function hostFiles(): Files {
  return {
    read: (path) => readFile(path, 'utf8'),
    real: (path) => realpath(path),
    // A file that is gone is somebody else's affair.
    tidy: async (path) => await rm(newFile(await realpath(path).catch(() => path)), { force: true }),
    write: (path, text, how) => (how === 'in-place' ? writeInPlace(path, text) : writeByRename(path, text)),
  }
}

// A single-file bind mount pins the inode: a renamed file would never be seen in the container.
async function writeInPlace(path: string, text: string): Promise<void> {
  const bytes = Buffer.from(text, 'utf8')
  const file = await open(path, 'r+')
  try {
    const before = await file.readFile()
    try {
      await overwrite(file, bytes)
    } catch (error) {
      // A full disk stops a longer text half way; the bytes that were there still fit.
      await overwrite(file, before).catch(() => {})
      throw error
    }
  } finally {
    await file.close()
  }
}

async function overwrite(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten
  await file.truncate(bytes.length)
  await file.sync()
}

// Hidden, and in the same folder: a rename stays on its disk.
function newFile(target: string): string {
  return join(dirname(target), `.${basename(target)}.ropeway-new`)
}

async function writeByRename(path: string, text: string): Promise<void> {
  const target = await realpath(path)
  const { mode, uid, gid } = await stat(target)
  const temporary = newFile(target)
  try {
    // Of a process that was killed: whoever rolls has the stack's lock, so it is nobody's now.
    await rm(temporary, { force: true })
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await chmod(temporary, mode & 0o7777) // the umask had its say at open
    if (process.getuid?.() === 0) await chown(temporary, uid, gid)
    await rename(temporary, target)
    await syncFolder(dirname(target))
  } finally {
    await rm(temporary, { force: true })
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
