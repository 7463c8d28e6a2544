// A benchmark's life: whatever it starts is ended with it, in reverse, also when it fails or is told to stop.

const ends: (() => Promise<unknown>)[] = []
let isStopping = false

/** Has this done when the benchmark is over. */
export function atEnd(end: () => Promise<unknown>): void {
  ends.push(end)
}

export async function bench(main: () => Promise<void>): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      isStopping = true
      void endAll().finally(() => process.exit(130))
    })
  process.once('uncaughtException', (error) => {
    console.error(error)
    void endAll().finally(() => process.exit(1))
  })
  try {
    await main()
  } catch (error) {
    // What was ended under its feet fails; that is no news.
    if (!isStopping) throw error
  } finally {
    await endAll()
  }
}

async function endAll(): Promise<void> {
  for (let end = ends.pop(); end; end = ends.pop())
    await end().catch((error: unknown) => console.error('bench: left behind:', error))
}

/** What goes on, for whoever waits: the tables alone are on stdout. */
export function say(text: string): void {
  console.error(`bench: ${text}`)
}
