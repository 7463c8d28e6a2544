// What each registry sends when somebody pushes, in its real shape: the fields of its documentation, the bytes ours. Each with how it shows
// who it is, and notifications of the same sender that must deploy nothing.

import { createHmac, randomUUID } from 'node:crypto'
import type { RegistryType } from '../../shared/triggers/registries/index.ts'

export interface Sent {
  readonly body: string
  readonly headers?: Record<string, string>
}

export interface Sender {
  /** The repository's path, as `image` in ropeway.yml has it without its host. */
  readonly path: string
  /** Of a push of this tag now. */
  push(tag: string, at?: Date): Sent
  /** By what it is: other words of the sender. */
  readonly others: Record<string, (tag: string) => Sent>
}

const DIGEST = `sha256:${'ab'.repeat(32)}`
const INDEX = 'application/vnd.oci.image.index.v1+json'
const json = (value: object, headers: Record<string, string> = {}): Sent => ({
  body: JSON.stringify(value),
  headers,
})
const seconds = (at: Date) => Math.floor(at.getTime() / 1000)

const dockerHub = (tag: string, at = new Date()) => ({
  callback_url: 'https://registry.hub.docker.com/u/acme/hello/hook/1/',
  push_data: { pushed_at: seconds(at), pusher: 'octo', tag, media_type: INDEX, images: [] },
  repository: {
    comment_count: 0,
    name: 'hello',
    namespace: 'acme',
    owner: 'acme',
    repo_name: 'acme/hello',
    repo_url: 'https://hub.docker.com/r/acme/hello',
    status: 'Active',
  },
})

const githubPackage = (tag: string, at = new Date(), over: object = {}) => ({
  id: 1,
  name: 'hello',
  namespace: 'Acme',
  ecosystem: 'CONTAINER',
  package_type: 'CONTAINER',
  owner: { login: 'Acme', id: 42 },
  package_version: {
    id: 2,
    version: DIGEST,
    name: DIGEST,
    package_url: `ghcr.io/Acme/hello:${tag}`,
    container_metadata: {
      tag: { name: tag, digest: tag === '' ? '' : DIGEST },
      labels: { source: 'https://github.com/Acme/hello' },
    },
    created_at: at.toISOString(),
    updated_at: at.toISOString(),
  },
  registry: {
    name: 'GitHub CONTAINER registry',
    type: 'CONTAINER',
    url: 'https://CONTAINER.pkg.github.com/Acme',
  },
  ...over,
})
const github = (event: string, body: object): Sent =>
  json(body, { 'x-github-event': event, 'x-github-delivery': randomUUID() })

const distributionEvent = (tag: string | undefined, over: object = {}, target: object = {}) => ({
  id: randomUUID(),
  timestamp: new Date().toISOString(),
  action: 'push',
  target: {
    mediaType: INDEX,
    size: 708,
    digest: DIGEST,
    length: 708,
    repository: 'acme/hello',
    url: `http://registry.example/v2/acme/hello/manifests/${DIGEST}`,
    ...(tag === undefined ? {} : { tag }),
    ...target,
  },
  request: {
    id: randomUUID(),
    addr: '192.0.2.11:42961',
    host: 'evil.example',
    method: 'PUT',
    useragent: 'docker/28',
  },
  actor: { name: 'octo' },
  source: { addr: 'registry:5000', instanceID: randomUUID() },
  ...over,
})
const envelope = (...events: unknown[]): Sent =>
  json({ events }, { 'content-type': 'application/vnd.docker.distribution.events.v2+json' })

const harborData = (tag: string) => ({
  resources: [{ digest: DIGEST, tag, resource_url: `harbor.example/acme/hello:${tag}` }],
  repository: {
    date_created: 1,
    name: 'hello',
    namespace: 'acme',
    repo_full_name: 'acme/hello',
    repo_type: 'private',
  },
})
const harbor = (tag: string, over: object = {}): Sent =>
  json({
    type: 'PUSH_ARTIFACT',
    occur_at: seconds(new Date()),
    operator: 'admin',
    event_data: harborData(tag),
    ...over,
  })
const harborCloudEvent = (tag: string, type = 'harbor.artifact.pushed'): Sent =>
  json(
    {
      specversion: '1.0',
      id: randomUUID(),
      requestid: randomUUID(),
      source: '/projects/1/webhook/policies/1',
      type,
      datacontenttype: 'application/json',
      time: new Date().toISOString(),
      operator: 'admin',
      data: harborData(tag),
    },
    { 'content-type': 'application/cloudevents+json' },
  )

const pipeline = (ref: string, over: object = {}) => ({
  object_kind: 'pipeline',
  object_attributes: {
    id: Math.floor(Math.random() * 1e9),
    iid: 3,
    ref,
    tag: false,
    sha: 'bcbb5ec396a2c0f828686f14fac9b80b780504f2',
    source: 'push',
    status: 'success',
    detailed_status: 'passed',
    finished_at: new Date().toISOString(),
    ...over,
  },
  user: { id: 1, name: 'Administrator', username: 'root' },
  project: { id: 7, path_with_namespace: 'Acme/Hello', default_branch: 'main' },
})

const giteaPackage = (version: string, over: object = {}) => ({
  action: 'created',
  repository: null,
  package: {
    id: 1,
    owner: { id: 2, login: 'Acme' },
    creator: { id: 3, login: 'octo' },
    type: 'container',
    name: 'hello',
    version,
    created_at: new Date().toISOString(),
    ...over,
  },
  sender: { id: 3, login: 'octo' },
})

const ecrEvent = (tag: string | undefined, detail: object = {}, over: object = {}) => ({
  version: '0',
  id: randomUUID(),
  'detail-type': 'ECR Image Action',
  source: 'aws.ecr',
  account: '123456789012',
  time: new Date().toISOString(),
  region: 'eu-central-1',
  resources: [],
  detail: {
    result: 'SUCCESS',
    'repository-name': 'acme/hello',
    'image-digest': DIGEST,
    'action-type': 'PUSH',
    ...(tag === undefined ? {} : { 'image-tag': tag }),
    ...detail,
  },
  ...over,
})

const acrEvent = (tag: string | undefined, over: object = {}) => ({
  id: randomUUID(),
  timestamp: new Date().toISOString(),
  action: 'push',
  target: {
    mediaType: INDEX,
    size: 524,
    digest: DIGEST,
    length: 524,
    repository: 'acme/hello',
    ...(tag === undefined ? {} : { tag }),
  },
  request: { id: randomUUID(), host: 'acme.azurecr.io', method: 'PUT', useragent: 'docker/28' },
  ...over,
})

const zotEvent = (reference: string, type = 'zotregistry.image.updated'): Sent =>
  json(
    { name: 'acme/hello', reference, digest: DIGEST, mediaType: INDEX, manifest: '{}' },
    {
      'ce-specversion': '1.0',
      'ce-id': randomUUID(),
      'ce-source': 'https://zotregistry.dev',
      'ce-type': type,
      'ce-time': new Date().toISOString(),
    },
  )

const jfrogEvent = (tag: string, over: object = {}) => ({
  domain: 'docker',
  event_type: 'pushed',
  data: {
    repo_key: 'acme',
    path: `hello/${tag}/manifest.json`,
    name: 'manifest.json',
    sha256: 'ab'.repeat(32),
    size: 941,
    image_name: 'hello',
    tag,
    platforms: [{ architecture: 'amd64', os: 'linux' }],
    nonce: randomUUID(),
  },
  subscription_key: 'hook',
  jpd_origin: 'https://acme.jfrog.example',
  source: 'jfrog/octo@acme.example',
  ...over,
})

/** As Pub/Sub wraps it. */
export const pubsub = (message: object): Sent =>
  json({
    message: {
      data: Buffer.from(JSON.stringify(message)).toString('base64'),
      messageId: String(Math.floor(Math.random() * 1e15)),
      publishTime: new Date().toISOString(),
    },
    subscription: 'projects/acme/subscriptions/ropeway',
  })
const GAR = 'europe-docker.pkg.dev/acme/images/hello'

export const SENDERS: Record<RegistryType, Sender> = {
  'docker-hub': {
    path: 'acme/hello',
    push: (tag, at) => json(dockerHub(tag, at)),
    others: {
      'another repository’s': (tag) => json({ ...dockerHub(tag), repository: { repo_name: 'acme/other' } }),
    },
  },
  ghcr: {
    path: 'acme/hello',
    push: (tag, at) => github('package', { action: 'published', package: githubPackage(tag, at) }),
    others: {
      'a ping': () => github('ping', { zen: 'Design for failure.', hook_id: 1 }),
      'one platform’s manifest': () =>
        github('package', {
          action: 'published',
          package: {
            ...githubPackage(''),
            package_version: { ...githubPackage('').package_version, package_url: 'ghcr.io/Acme/hello:' },
          },
        }),
      'a package of npm': (tag) =>
        github('package', {
          action: 'published',
          package: githubPackage(tag, new Date(), { package_type: 'npm' }),
        }),
      'a deletion': (tag) => github('package', { action: 'deleted', package: githubPackage(tag) }),
      'an event of another kind': () => github('issues', { action: 'opened', issue: { number: 1 } }),
    },
  },
  distribution: {
    path: 'acme/hello',
    push: (tag) => envelope(distributionEvent(tag)),
    others: {
      'the agent’s own pull': (tag) =>
        envelope(distributionEvent(tag, { action: 'pull', request: { method: 'GET' } })),
      'a layer': () => envelope(distributionEvent(undefined, {}, { mediaType: 'application/octet-stream' })),
      'a push by digest': () => envelope(distributionEvent(undefined)),
      'a mount': (tag) => envelope(distributionEvent(tag, { action: 'mount' })),
      'an event that is none': () => envelope({ action: 7 }, null, 'push'),
      'an empty envelope': () => envelope(),
    },
  },
  harbor: {
    path: 'acme/hello',
    push: (tag) => harbor(tag),
    others: {
      'a digest in a tag’s place': () => harbor(DIGEST),
      'a pull through the proxy cache': (tag) => harbor(tag, { operator: 'harbor#proxy-cache-service' }),
      'a scan': (tag) => harbor(tag, { type: 'SCANNING_COMPLETED' }),
      'a deletion in a CloudEvent': (tag) => harborCloudEvent(tag, 'harbor.artifact.deleted'),
    },
  },
  quay: {
    path: 'acme/hello',
    push: (tag) =>
      json({
        name: 'hello',
        repository: 'acme/hello',
        namespace: 'acme',
        docker_url: 'quay.io/acme/hello',
        homepage: 'https://quay.io/repository/acme/hello',
        updated_tags: [tag],
      }),
    others: {
      'a build that failed': () =>
        json({ build_id: 'x', error_message: 'y', docker_url: 'quay.io/acme/hello' }),
    },
  },
  gitlab: {
    path: 'acme/hello',
    push: (tag) => json(pipeline(tag), { 'x-gitlab-event': 'Pipeline Hook' }),
    others: {
      'a pipeline that runs': (tag) => json(pipeline(tag, { status: 'running' })),
      'a push of code': () => json({ object_kind: 'push', ref: 'refs/heads/main' }),
    },
  },
  gitea: {
    path: 'acme/hello',
    push: (tag) => json(giteaPackage(tag), { 'x-gitea-event': 'package', 'x-gitea-delivery': randomUUID() }),
    others: {
      'a digest in a tag’s place': () => json(giteaPackage(DIGEST)),
      'a package of npm': (tag) => json(giteaPackage(tag, { type: 'npm' })),
      'a deletion': (tag) => json({ ...giteaPackage(tag), action: 'deleted' }),
    },
  },
  ecr: {
    path: 'acme/hello',
    push: (tag) => json(ecrEvent(tag)),
    others: {
      'a push without a tag': () => json(ecrEvent(undefined)),
      'a push that failed': (tag) => json(ecrEvent(tag, { result: 'FAILURE' })),
      'a deletion': (tag) => json(ecrEvent(tag, { 'action-type': 'DELETE' })),
      'a scan': (tag) => json(ecrEvent(tag, {}, { 'detail-type': 'ECR Image Scan' })),
    },
  },
  'artifact-registry': {
    path: 'acme/images/hello',
    push: (tag) => pubsub({ action: 'INSERT', digest: `${GAR}@${DIGEST}`, tag: `${GAR}:${tag}` }),
    others: {
      'a push without a tag': () => pubsub({ action: 'INSERT', digest: `${GAR}@${DIGEST}` }),
      'a deletion': (tag) => pubsub({ action: 'DELETE', tag: `${GAR}:${tag}` }),
      'a message of another topic': () => pubsub({ hello: 'world' }),
    },
  },
  acr: {
    path: 'acme/hello',
    push: (tag) => json(acrEvent(tag)),
    others: {
      'a ping': () => json({ id: randomUUID(), timestamp: new Date().toISOString(), action: 'ping' }),
      'a deletion': (tag) => json(acrEvent(tag, { action: 'delete' })),
      'a push by digest': () => json(acrEvent(undefined)),
    },
  },
  zot: {
    path: 'acme/hello',
    push: (tag) => zotEvent(tag),
    others: {
      'a new repository': (tag) => zotEvent(tag, 'zotregistry.repository.created'),
      'a push by digest': () => zotEvent(DIGEST),
    },
  },
  jfrog: {
    path: 'acme/hello',
    push: (tag) => json(jfrogEvent(tag)),
    others: {
      'a deletion': (tag) => json(jfrogEvent(tag, { event_type: 'deleted' })),
      'a chart': (tag) => json(jfrogEvent(tag, { domain: 'helmoci' })),
    },
  },
}

/** The same push by another of a sender's forms. */
export const OTHER_FORMS: [RegistryType, string, (tag: string) => Sent][] = [
  [
    'ghcr',
    'registry_package, of an app',
    (tag) => github('registry_package', { action: 'updated', registry_package: githubPackage(tag) }),
  ],
  ['harbor', 'a CloudEvent', (tag) => harborCloudEvent(tag)],
  ['harbor', 'the type of Harbor 1', (tag) => harbor(tag, { type: 'pushImage' })],
  [
    'distribution',
    'several events, of which one is ours',
    (tag) =>
      envelope(
        distributionEvent(undefined, {}, { mediaType: 'application/octet-stream' }),
        distributionEvent(tag),
        { action: 'push' },
        distributionEvent(tag, { action: 'pull' }),
        distributionEvent(tag, {}, { repository: 'acme/other' }),
      ),
  ],
  [
    'distribution',
    'the media type of registry:2',
    (tag) => ({
      ...envelope(
        distributionEvent(tag, {}, { mediaType: 'application/vnd.docker.distribution.manifest.v2+json' }),
      ),
      headers: { 'content-type': 'application/vnd.docker.distribution.events.v1+json; charset=utf-8' },
    }),
  ],
]

export const hmacHex = (secret: string, body: string): string =>
  createHmac('sha256', secret).update(body).digest('hex')
