// A disk that can be filled: a small tmpfs. Mounting takes root, or `unshare -rm` around the whole test run (run.sh does it).

import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const CHUNK_BYTES = 64 * 1024
/** The smallest that a tmpfs gives away. */
const PAGE_BYTES = 4096

export interface SmallDisk {
  /** Takes all that is left. */
  fill(): void
  /** Gives it back. */
  free(): void
  /** Lets nobody write on it any more. */
  seal(): void
}

/** Mounts a disk over an empty folder, until the test is over. */
export function mountSmallDisk(
  context: { onTestFinished(end: () => void): void },
  path: string,
  bytes: number,
): SmallDisk {
  mkdirSync(path, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'tmpfs', path], { stdio: 'pipe' })
  } catch (cause) {
    throw new Error(
      `no small disk can be mounted over ${path}: run the fault tests as root, or by test/faults/run.sh, which takes a user namespace`,
      { cause },
    )
  }
  // Lazily: it goes when the last process that has it open is gone.
  context.onTestFinished(() => void execFileSync('umount', ['-l', path]))
  const ballast = join(path, 'ballast')
  return {
    fill: () => {
      const file = openSync(ballast, 'a')
      try {
        for (const size of [CHUNK_BYTES, PAGE_BYTES, 1]) while (hasRoomFor(file, size));
      } finally {
        closeSync(file)
      }
    },
    free: () => rmSync(ballast, { force: true }),
    seal: () => void execFileSync('mount', ['-o', 'remount,ro', path], { stdio: 'pipe' }),
  }
}

function hasRoomFor(file: number, size: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(size)) === size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}
