// The Files port: durable writes that keep what the user's file is: its inode where a container pins it, its owner and mode elsewhere.

import {
  access,
  chmod,
  chown,
  constants,
  open,
  readFile,
  realpath,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Problem } from '../../shared/problems.ts'
import { putInPlace, writeNew } from '../disk.ts'
import type { Encoding, Files } from '../ports.ts'

export function hostFiles(): Files {
  return {
    read: async (path, encoding = 'utf-8') =>
      decode(await orSay(path, 'read', async () => await readFile(path)), path, encoding),
    real: (path) => realpath(path),
    // A file that is gone is somebody else's affair.
    tidy: async (path) => await rm(newFile(await realpath(path).catch(() => path)), { force: true }),
    checkWritable: async (path, how) =>
      await orSay(path, 'written', async () =>
        access(how === 'in-place' ? path : dirname(await realpath(path)), constants.W_OK),
      ),
    write: async (path, text, how, encoding = 'utf-8') => {
      const bytes = Buffer.from(text, encoding === 'bytes' ? 'latin1' : 'utf8')
      await orSay(path, 'written', async () => {
        await (how === 'in-place' ? writeInPlace(path, bytes) : writeByRename(path, bytes))
      })
    },
  }
}

function decode(bytes: Buffer, path: string, encoding: Encoding): string {
  if (encoding === 'bytes') return bytes.toString('latin1')
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new Problem('compose-invalid', `${path} is not UTF-8`, {
      cure: `save it as UTF-8; \`iconv -f utf-8 ${path}\` says where it is not`,
      cause,
    })
  }
}

async function orSay<T>(path: string, what: 'read' | 'written', work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause
    throw new Problem('file-unusable', `${path} cannot be ${what}: ${cause.message}`, {
      cause,
      cure: CURES[String(cause.code)] ?? 'see to its disk and its folder',
    })
  }
}

const NO_ROOM = 'make room on its disk'
const NOT_ALLOWED = 'let the user that the agent runs as read and write the file, and write in its folder'
const CURES: Readonly<Record<string, string>> = {
  ENOSPC: NO_ROOM,
  EDQUOT: NO_ROOM,
  EACCES: NOT_ALLOWED,
  EPERM: NOT_ALLOWED,
  EROFS: 'let the agent see it on a disk that can be written: in a container, mount it without `:ro`',
  EBUSY: 'it is a mount by itself: mount its folder into the agent’s container instead',
}

// A single-file bind mount pins the inode: a renamed file would never be seen in the container.
async function writeInPlace(path: string, bytes: Buffer): Promise<void> {
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

async function writeByRename(path: string, bytes: Buffer): Promise<void> {
  const target = await realpath(path)
  const { mode, uid, gid } = await stat(target)
  const temporary = newFile(target)
  try {
    // Of a process that was killed: whoever rolls has the stack's lock, so it is nobody's now.
    await rm(temporary, { force: true })
    await writeNew(temporary, bytes, { mode, flags: 'wx' })
    await chmod(temporary, mode & 0o7777) // the umask had its say at open
    if (process.getuid?.() === 0) await chown(temporary, uid, gid)
    await putInPlace(temporary, target)
  } finally {
    await rm(temporary, { force: true })
  }
}
