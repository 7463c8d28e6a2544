import { expect, test } from 'vitest'
import { withSharedImages } from '../../../../agent/compose/edit/shared-image.ts'

const wanting = (image: string) => new Map([1, 2].map((index) => [`app${index}`, image]))
const inBoth = (service: string) => `services: {app1: ${service}, app2: ${service}, web: {init: true}}\n`

test.each([
  ['of a file without an alias, which is not even read', 'services: ['],
  ['of a file of comments', '# *\n'],
  ['of a file without services', 'x-a: &a 1\nx-b: *a\n'],
  ['that one service has alone', 'x-i: &i a\nservices: {app1: {image: *i}}\n'],
  ['of services that are not updated', 'x-i: &i a\nservices: {db1: {image: *i}, db2: {image: *i}}\n'],
  ['that is said already, in whatever form', `x-i: &i >-\n  b\n${inBoth('{image: *i}')}`],
  ['that is no text', `x-i: &i 1\n${inBoth('{image: *i}')}`],
  ['that is reset', `x-i: &i !reset a\n${inBoth('{image: *i}')}`],
  ['of what is not merged', `x-a: &a {image: a}\n${inBoth('{x-b: *a}')}`],
])('an image stays %s', (_, text) => {
  expect(withSharedImages(text, wanting('b'))).toBe(text)
})

test.each([
  ['plain', `x-i: &i a # x\n${inBoth('{image: *i}')}`, '&i a', '&i b'],
  ['with the tag of a text', `x-i: &i !!str a\n${inBoth('{image: *i}')}`, '!!str a', '!!str b'],
  ['of a service that is an alias', 'services: {app1: &a {image: a}, app2: *a}\n', 'image: a', 'image: b'],
  [
    'of the second of two that are merged',
    `x-a: &a {init: true}\nx-b: &b {image: a}\n${inBoth('{<<: [*a, *b]}')}`,
    'image: a',
    'image: b',
  ],
])('an image changes where both services have it from: %s', (_, text, from, to) => {
  expect(withSharedImages(text, wanting('b'))).toBe(text.replace(from, to))
})

const merged = (image: string) => `x-a: &a {image: ${image}}\n${inBoth('{<<: *a}')}`

test('an image is quoted where flow would end it', () => {
  expect(withSharedImages(merged('a'), wanting('b{c}'))).toBe(merged("'b{c}'"))
})
