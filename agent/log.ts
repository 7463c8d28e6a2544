// What the agent says to whoever runs it. Where it goes (terminal, journald, JSON) is main's business.

export type Log = (level: 'info' | 'warn', message: string) => void

/** Lines in a minute about what only the relay says: many more than an honest one causes, and 10 MB a day. */
const RELAYED_LINES_PER_MINUTE = 60

/** A log for what a relay can cause by itself: one that lies must not fill the disk with it. What it leaves out is counted. */
export function limited(log: Log, now: () => number = Date.now): Log {
  let minute = 0
  let count = 0
  return (level, message) => {
    const present = Math.floor(now() / 60_000)
    if (present !== minute) {
      const left = count - RELAYED_LINES_PER_MINUTE
      if (left > 0) log('warn', `${left} more lines of this kind were left out`)
      minute = present
      count = 0
    }
    count += 1
    if (count <= RELAYED_LINES_PER_MINUTE) log(level, message)
  }
}
