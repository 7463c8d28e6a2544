// The relay as `ropeway relay` starts it, but with limits far above what is measured. The module to take it from is an argument.

import { pathToFileURL } from 'node:url'
import type { Relay, RelayOptions } from '../../../agent/relay/relay.ts'
import { serve } from './processes.ts'

const { startRelay } = (await import(pathToFileURL(process.argv[2] ?? '').href)) as {
  startRelay(options: RelayOptions): Promise<Relay>
}

let relay: Relay | undefined

serve(
  {
    async start(options: RelayOptions) {
      relay = await startRelay(options)
      return relay.url
    },
  },
  async () => relay?.stop(),
)
