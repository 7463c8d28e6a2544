// Waiting on a condition, with a deadline that names what was awaited. No test sleeps and hopes.

const POLL_MS = 5

export async function until<T>(
  what: string,
  condition: () => T,
  deadlineMs = 5000,
): Promise<NonNullable<Awaited<T>>> {
  const end = Date.now() + deadlineMs
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
