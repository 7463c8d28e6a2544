// The hub's one alarm, for whatever must be looked at. A Durable Object has no more than one, and each time that it is set is a row.

export class Alarm {
  readonly #storage: DurableObjectStorage
  /** When it is set for; undefined: not looked at yet. */
  #at: number | undefined

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
  }

  /** Lets it ring at that time at the latest: one that is set already is early enough, or is moved. */
  async ringBy(at: number | undefined): Promise<void> {
    if (at === undefined) return
    if (this.#at === undefined) {
      const set = await this.#storage.getAlarm()
      // Whoever asked at the same time may have moved it meanwhile.
      this.#at ??= set ?? Infinity
    }
    if (at >= this.#at) return
    this.#at = at
    await this.#storage.setAlarm(at)
  }

  /** It rings: from now on none is set. */
  rings(): void {
    this.#at = Infinity
  }
}
