// Numbers in words: medians, percentiles, markdown.

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** The smallest value that at least so many percent of the values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? Number.NaN
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}

/** As `2.10 s (2.03-2.31)`: the median, and from where to where the values go. */
export function spread(values: readonly number[]): string {
  const range = [Math.min(...values), Math.max(...values)].map((ms) => (ms / 1000).toFixed(2))
  return `${seconds(median(values))} (${range.join('-')})`
}

export function millis(ms: number): string {
  return ms >= 100 ? `${Math.round(ms)} ms` : `${ms.toFixed(ms >= 10 ? 1 : 2)} ms`
}

/** A markdown table after a heading; columns but the first are numbers and stand to the right. */
export function printTable(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const rule = row(head.map((_, index) => (index === 0 ? '---' : '--:')))
  console.log([`\n### ${title}\n`, row(head), rule, ...rows.map(row)].join('\n'))
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

export function printText(...lines: string[]): void {
  console.log(['', ...lines].join('\n'))
}
