// The least that any relay of this kind must do, in the same Miniflare: a Worker hands a request to a Durable Object, which stores it in
// one row and answers. Nothing is verified, nothing looked up. What ours takes beyond that is ours.

import { Miniflare } from 'miniflare'
import type { Relay, RelayOptions } from '../../../agent/relay/relay.ts'

const WORKER = `
  import { DurableObject } from 'cloudflare:workers'
  export class Hub extends DurableObject {
    constructor(ctx, env) {
      super(ctx, env)
      ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS requests (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)')
    }
    accept(body) {
      const id = crypto.randomUUID()
      this.ctx.storage.sql.exec('INSERT INTO requests (id, body) VALUES (?, ?)', id, new TextDecoder().decode(body))
      return id
    }
  }
  export default {
    async fetch(request, env) {
      const host = new URL(request.url).pathname.split('/')[2]
      const id = await env.HUB.getByName(host).accept(new Uint8Array(await request.arrayBuffer()))
      return Response.json({ deploy: { id } }, { status: 202 })
    },
  }`

export async function startRelay({ dataDir, port }: RelayOptions): Promise<Relay> {
  const miniflare = new Miniflare({
    name: 'bare',
    modules: true,
    script: WORKER,
    compatibilityDate: '2026-07-30',
    durableObjects: { HUB: { className: 'Hub', useSQLite: true } },
    host: '127.0.0.1',
    port,
    cf: false,
    logRequests: false,
    ...(dataDir === undefined ? {} : { defaultPersistRoot: dataDir }),
  })
  return { url: (await miniflare.ready).origin, stop: () => miniflare.dispose(), miniflare }
}
