// The hub's one alarm, which all parts share: a Durable Object has no more. Each time that it is set costs a row.

export class Alarm {
  readonly #storage: DurableObjectStorage
  /** When it is set for; undefined: not looked at yet. */
  #at: number | undefined

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
  }

  /** Lets it ring at that time at the latest. An alarm that is set for later is moved. */
  async ringBy(at: number | undefined): Promise<void> {
    if (at === undefined) return
    if (this.#at === undefined) {
      const set = await this.#storage.getAlarm()
      // Another call may have set it while this one waited.
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
