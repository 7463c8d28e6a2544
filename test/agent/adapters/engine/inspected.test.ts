// What the engine says of a container and of an image, as the roll needs it.

import type Docker from 'dockerode'
import { expect, test } from 'vitest'
import { readContainer } from '../../../../agent/adapters/engine/container.ts'
import { readImage } from '../../../../agent/adapters/engine/image.ts'

test.each([
  [
    'both families',
    { IPAddress: '172.18.0.2', GlobalIPv6Address: 'fd00:12::2' },
    ['172.18.0.2', 'fd00:12::2'],
  ],
  ['IPv4 alone', { IPAddress: '172.18.0.2', GlobalIPv6Address: '' }, ['172.18.0.2']],
  ['IPv6 alone', { IPAddress: '', GlobalIPv6Address: 'fd00:12::2' }, ['fd00:12::2']],
  ['none, as of one that does not run', { IPAddress: '', GlobalIPv6Address: '' }, undefined],
])('a container’s addresses: %s', (_what, endpoint, expected) => {
  const inspected = {
    Name: '/hello-app1-1',
    Config: {},
    State: {},
    NetworkSettings: { Networks: { hello_default: endpoint } },
  }
  const { addresses } = readContainer(inspected as unknown as Docker.ContainerInspectInfo)
  expect(addresses).toEqual(expected === undefined ? {} : { hello_default: expected })
})

const ID = `sha256:${'1'.repeat(64)}`
const DIGEST = `sha256:${'2'.repeat(64)}`
const pull = (...repositories: string[]) => ({ Pull: repositories.map((Repository) => ({ Repository })) })

test.each([
  ['built here', { RepoDigests: [] }, [], []],
  ['pulled', { RepoDigests: [`hello@${DIGEST}`] }, [`hello@${DIGEST}`], []],
  ['containerd, no origin told', { RepoDigests: [`hello@${ID}`] }, [], [`hello@${ID}`]],
  ['containerd, built here', { RepoDigests: [`hello@${ID}`], Identity: { Build: [{ Ref: 'x' }] } }, [], []],
  [
    'containerd, pulled and named here too',
    {
      RepoDigests: [`ghcr.io/acme/hello@${ID}`, `mine@${ID}`],
      Identity: pull('ghcr.io/acme/hello'),
    },
    [`ghcr.io/acme/hello@${ID}`],
    [],
  ],
  [
    'containerd, pulled from Docker Hub',
    { RepoDigests: [`acme/hello@${ID}`], Identity: pull('docker.io/acme/hello') },
    [`acme/hello@${ID}`],
    [],
  ],
])('where an image is known to be from: %s', (_what, said, digests, unproven) => {
  const inspected = { Id: ID, Os: 'linux', Architecture: 'amd64', ...said }
  expect(readImage(inspected as unknown as Docker.ImageInspectInfo)).toEqual({
    id: ID,
    tags: [],
    platform: 'linux/amd64',
    digests,
    unproven,
  })
})
