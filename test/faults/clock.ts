// A clock that is wrong: `node --import test/faults/clock.ts` with CLOCK_SKEW_MS shifts what the process takes for the time.

const skewMs = Number(process.env['CLOCK_SKEW_MS'] ?? 0)
const RealDate = Date

class SkewedDate extends RealDate {
  constructor(...parts: [] | ConstructorParameters<typeof Date>) {
    if (parts.length === 0) super(RealDate.now() + skewMs)
    else super(...(parts as [number]))
  }

  static override now(): number {
    return RealDate.now() + skewMs
  }
}
globalThis.Date = SkewedDate as DateConstructor
