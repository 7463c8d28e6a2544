// Waiting on a condition, with a deadline that names what was awaited. No test sleeps and hopes.

const POLL_MS = 5
/** Against hanging only: on a machine that is busy with other tests what takes milliseconds takes seconds. */
const WAIT_MS_MAX = 30_000

export async function until<T>(
  what: string,
  condition: () => T,
  deadlineMs = WAIT_MS_MAX,
): Promise<NonNullable<Awaited<T>>> {
  const end = Date.now() + deadlineMs
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
