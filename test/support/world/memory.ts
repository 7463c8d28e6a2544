// What the agent keeps on its own disk, in memory: a stack's releases, and the note that it is stuck.

import type { FileTexts } from '../../../agent/compose/edit/texts.ts'
import type { NewRelease, Release, Releases } from '../../../agent/roll/releases/release.ts'
import type { StuckNote, StuckNotes } from '../../../agent/roll/stuck/note.ts'
import type { Faults } from './faults.ts'

export class FakeReleases implements Releases {
  #all: Release[] = []

  list(): readonly Release[] {
    return this.#all
  }

  add({ of, ...release }: NewRelease): number {
    const known = this.#all.find(({ deploy }) => deploy !== null && deploy === release.deploy)
    if (known) return known.number
    const number = (this.#all.at(-1)?.number ?? 0) + 1
    this.#all = [...this.#all, { ...release, number, of: of ?? number }]
    return number
  }

  forgetBefore(number: number): void {
    this.#all = this.#all.filter((release) => release.number >= number)
  }

  /** As one life of the agent has them: writing may fail. */
  in(faults: Faults): Releases {
    return {
      list: () => this.list(),
      add: (release) => faults.write('journal.release', () => this.add(release)) ?? 0,
      forgetBefore: (number) => void faults.write('journal.forget', () => this.forgetBefore(number)),
    }
  }
}

export class FakeStuckNotes implements StuckNotes {
  #note: StuckNote | undefined
  readonly kept: FileTexts[] = []

  read(): StuckNote | undefined {
    return this.#note
  }

  write(note: StuckNote): void {
    this.#note = note
  }

  clear(): void {
    this.#note = undefined
  }

  keep(files: Parameters<StuckNotes['keep']>[0]): FileTexts {
    const texts = Object.entries(files).map(([path, content]) => [
      path,
      typeof content === 'string' ? content : new TextDecoder().decode(content),
    ])
    this.kept.push(Object.fromEntries(texts))
    return Object.fromEntries(Object.keys(files).map((path) => [path, `/var/lib/ropeway/stuck${path}`]))
  }

  in(faults: Faults): StuckNotes {
    return {
      read: () => this.read(),
      write: (note) => void faults.write('journal.stick', () => this.write(note)),
      clear: () => void faults.write('journal.clear', () => this.clear()),
      keep: (files) => this.keep(files),
    }
  }
}
