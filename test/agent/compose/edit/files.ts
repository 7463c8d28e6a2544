// Compose files, changes and problems as the tests name them.

import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { editService, type ServiceChange } from '../../../../agent/compose/edit/edit.ts'

export const seed = readFileSync(new URL('../../fixtures/docker-compose.yml', import.meta.url), 'utf8')
export const image = (to: string): ServiceChange => ({ image: to })
export const message = (to: string): ServiceChange => ({ env: { MESSAGE: to } })
export const problem = (code: string, words = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(words) as string })

// A service of a file whose other services and comments must not move.
export const inFile = (body: string) =>
  `# stack\nservices:\n  db:\n    image: db # a\n  app1:\n${body}\n  # end\n  web: { image: web }\n`
export const edit = (body: string, change: ServiceChange) => {
  const edited = editService(inFile(body), 'app1', change)
  const [head = '', tail = ''] = inFile('\0').split('\0')
  expect(edited.startsWith(head) && edited.endsWith(tail)).toBe(true)
  return edited.slice(head.length, edited.length - tail.length)
}
