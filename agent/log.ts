// What the agent says to whoever runs it. Where it goes (terminal, journald, JSON) is main's business.

export type Log = (level: 'info' | 'warn', message: string) => void
