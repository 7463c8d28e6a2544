// The relay's Worker with a counter on whatever its hubs write: the rows that Cloudflare bills. JavaScript, because TypeScript would check
// it with Node's types, like everything below test/, and the Worker it is made of has others.

import app, { Hub as RealHub } from '../../../worker/index.ts'

// Shadows a method on this one object; a Proxy would not be taken for the runtime's own.
function count(object, method, note) {
  const original = object[method].bind(object)
  object[method] = (...args) => {
    const result = original(...args)
    note(result)
    return result
  }
}

/** What was written since it was last asked for. A hub that sleeps forgets it, so each is asked within seconds. */
class Counter {
  #cursors = []
  #kv = 0
  #alarms = 0

  constructor({ storage }) {
    count(storage.sql, 'exec', (cursor) => this.#cursors.push(cursor))
    count(storage.kv, 'put', () => (this.#kv += 1))
    count(storage.kv, 'delete', () => (this.#kv += 1))
    count(storage, 'setAlarm', () => (this.#alarms += 1))
  }

  // A cursor knows its number once its rows were read, which is long ago by now.
  take() {
    const sum = (of) => this.#cursors.reduce((total, cursor) => total + of(cursor), 0)
    const taken = {
      sql: sum(({ rowsWritten }) => rowsWritten),
      kv: this.#kv,
      alarms: this.#alarms,
      read: sum(({ rowsRead }) => rowsRead),
    }
    this.#cursors = []
    this.#kv = 0
    this.#alarms = 0
    return taken
  }
}

export class Hub extends RealHub {
  #counter

  constructor(ctx, env) {
    const counter = new Counter(ctx)
    super(ctx, env)
    this.#counter = counter
  }

  takeCounts() {
    return this.#counter.take()
  }
}

export default {
  async fetch(request, env, ctx) {
    const host = /^\/bench\/rows\/([a-z0-9-]+)$/.exec(new URL(request.url).pathname)?.[1]
    if (host === undefined) return app.fetch(request, env, ctx)
    return Response.json(await env.HUB.getByName(host).takeCounts())
  },
}
