import { expect, test } from 'vitest'
import { isOwn } from '../../../worker/hub/chat/send.ts'

const HOSTS = ['slack.com', 'chat.acme.example:8443']

test.each([
  ['https://slack.com/api/chat.update', true],
  ['https://chat.acme.example:8443/hooks', true],
  ['https://evilslack.com/api', false],
  ['https://evil-chat.acme.example:8443/', false],
  ['https://hooks.slack.com/api', false],
  ['https://slack.com.evil.example/', false],
  ['https://slack.com:8443/', false],
  ['https://chat.acme.example/', false],
  ['https://user@slack.com/', false],
  ['https://:password@slack.com/', false],
  ['http://slack.com/', false],
  ['slack.com', false],
])('that %s is the platform’s own is %s', (url, expected) => {
  expect(isOwn(url, HOSTS)).toBe(expected)
})
