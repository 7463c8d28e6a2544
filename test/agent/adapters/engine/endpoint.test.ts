// The engine's address, as the docker CLI has it.

import { expect, test } from 'vitest'
import { optionsOf } from '../../../../agent/adapters/engine/endpoint.ts'

const context = (Name: string, Host: string, TLSMaterial: object = {}) =>
  JSON.stringify({ Name, Metadata: {}, Endpoints: { docker: { Host, SkipTLSVerify: false } }, TLSMaterial })

test.each([
  ['rootless', 'unix:///run/user/1000/docker.sock', { socketPath: '/run/user/1000/docker.sock' }],
  ['default', 'unix:///var/run/docker.sock', { socketPath: '/var/run/docker.sock' }],
  ['default', 'tcp://127.0.0.1:2376', undefined], // with the TLS of the environment
  ['vm', 'tcp://127.0.0.1:2375', { protocol: 'http', host: '127.0.0.1', port: 2375 }],
])('context %s at %s', (name, host, options) => {
  expect(optionsOf(context(name, host))).toEqual(options)
})

test.each([
  ['away', 'ssh://me@other', {}, /context away \(ssh:\/\/me@other\) is not an engine of this machine/],
  ['default', 'ssh://me@other', {}, /not an engine of this machine/],
  ['safe', 'tcp://10.0.0.1:2376', { docker: ['ca.pem'] }, /context safe .* has its TLS keys in the context/],
])('context %s at %s cannot be used, and the reason is said', (name, host, tls, why) => {
  expect(() => optionsOf(context(name, host, tls))).toThrow(why)
})
