// The OpenAPI document of the relay, made from the schemas that the code itself uses. Served at /openapi.json.

import { z } from 'zod'
import {
  acceptedSchema,
  cancelSchema,
  deployDetailsSchema,
  deploysSchema,
  enrolledSchema,
  enrolmentSchema,
  errorSchema,
  eventsSchema,
  healthSchema,
  hostSchema,
  ignoredSchema,
  releasesSchema,
  revocationSchema,
  revokedSchema,
  rotatedSchema,
  rotationSchema,
  sessionSchema,
  stackSchema,
} from '../shared/api.ts'
import { loggedEventSchema } from '../shared/events.ts'
import { DEPLOYS_LISTED_MAX, NAME_PATTERN } from '../shared/limits.ts'
import { cancelRequestSchema, deployRequestSchema, rollbackRequestSchema } from '../shared/request.ts'
import { IDEMPOTENCY_KEY_PATTERN, URL_SECRET_PATTERN } from '../shared/triggers/index.ts'
import { EVENTS_TYPES } from './body.ts'

const SCHEMAS = {
  Accepted: acceptedSchema,
  Cancel: cancelRequestSchema,
  Cancelled: cancelSchema,
  Deploy: deployDetailsSchema,
  DeployRequest: deployRequestSchema,
  Deploys: deploysSchema,
  Enrolled: enrolledSchema,
  Enrolment: enrolmentSchema,
  Error: errorSchema,
  Event: loggedEventSchema,
  Events: eventsSchema,
  Health: healthSchema,
  Host: hostSchema,
  Ignored: ignoredSchema,
  Releases: releasesSchema,
  Revocation: revocationSchema,
  Revoked: revokedSchema,
  RollbackRequest: rollbackRequestSchema,
  Rotated: rotatedSchema,
  Rotation: rotationSchema,
  Session: sessionSchema,
  Stack: stackSchema,
} satisfies Record<string, z.ZodType>
type SchemaName = keyof typeof SCHEMAS

const schema = (name: SchemaName) => ({ $ref: `#/components/schemas/${name}` })
const json = (name: SchemaName) => ({ 'application/json': { schema: schema(name) } })
const ok = (description: string, name: SchemaName) => ({ description, content: json(name) })
const asks = (name: SchemaName) => ({ required: true, content: json(name) })
const EVENT_STREAM = { 'text/event-stream': { schema: { type: 'string' } } }

const REFUSALS = {
  400: 'It is not well formed',
  401: 'The credentials are missing, wrong or expired, or there is no such host',
  403: 'The token does not allow this',
  404: 'There is no such thing, or it is not for this token to see',
  409: 'It cannot be done as things are: the host is enrolled with another key, the deploy is over, or the agent is offline',
  413: 'The body is too large',
  415: 'The body is not JSON in UTF-8 by its type, or it is compressed',
  429: 'Too many requests; come again after Retry-After',
  503: 'Nothing was stored; try again after Retry-After',
}
const refuses = (...statuses: (keyof typeof REFUSALS)[]) =>
  Object.fromEntries(statuses.map((status) => [status, ok(REFUSALS[status], 'Error')]))

const parameter = (place: 'path' | 'query' | 'header', name: string, type: object, description?: string) => ({
  in: place,
  name,
  required: place === 'path',
  schema: type,
  ...(description === undefined ? {} : { description }),
})
const nameIn = (name: string) => parameter('path', name, { type: 'string', pattern: NAME_PATTERN.source })
const HOST = nameIn('host')
const STACK = nameIn('stack')
const DEPLOY = parameter('path', 'id', { type: 'string' })

const TOKEN = [{ token: [] }]
/** What only reads is open to a browser's session too. */
const READER = [{ token: [] }, { session: [] }]
/** Any route of a host may answer these. */
const HOST_REFUSALS = [401, 429, 503] as const
const BODY_REFUSALS = [...HOST_REFUSALS, 400, 413, 415] as const
const LIMIT = parameter('query', 'limit', { type: 'integer', minimum: 1, maximum: DEPLOYS_LISTED_MAX })
/** What asks for a roll with a token: to be followed on the same connection, or asked again safely. */
const ASKING = [
  parameter('query', 'wait', { type: 'string' }, 'Answer with the events of the deploy, to its end'),
  parameter(
    'header',
    'Idempotency-Key',
    { type: 'string', pattern: IDEMPOTENCY_KEY_PATTERN.source },
    'A request that comes again with the same key and body is the same request',
  ),
]
const ACCEPTED = {
  202: ok('Stored; the agent gets it now, or when it is back', 'Accepted'),
  200: ok('The same request came before', 'Accepted'),
}

const ASKED = {
  202: ACCEPTED[202],
  200: {
    description: 'The same request came before; or, with `wait`, the events',
    content: { ...EVENT_STREAM, ...json('Accepted') },
  },
}
const TOLD = {
  'application/json': { schema: { oneOf: [schema('Accepted'), schema('Ignored')] } },
}
const IGNORED = 'The same came before, or is part of it; or it is a registry’s word that deploys nothing'

const PATHS = {
  '/hooks/{host}/{chat}': {
    post: {
      operationId: 'chat',
      summary:
        'What a chat’s platform sends of people who speak to a bot; docs/chat.md says how each is set up',
      parameters: [HOST, nameIn('chat')],
      requestBody: {
        required: true,
        description: 'The platform’s own',
        content: { 'application/json': { schema: {} }, 'application/x-www-form-urlencoded': { schema: {} } },
      },
      responses: {
        200: {
          description: 'The platform’s own answer; a refusal too is said in its words',
          content: { 'application/json': { schema: { type: 'object' } } },
        },
        ...refuses(...BODY_REFUSALS),
      },
    },
  },
  '/hooks/{host}/{stack}/{trigger}': {
    post: {
      operationId: 'hook',
      summary:
        'Ask for a deploy with a signed webhook (Standard Webhooks 1.0), with a CI job’s token (Bearer), or tell of a push as a registry does',
      parameters: [
        HOST,
        STACK,
        nameIn('trigger'),
        ...ASKING,
        parameter('header', 'webhook-id', { type: 'string' }, 'The same for every delivery of one request'),
        parameter('header', 'webhook-timestamp', { type: 'string' }, 'Seconds since 1970'),
        parameter(
          'header',
          'webhook-signature',
          { type: 'string' },
          'Over `id.timestamp.body`, in base64: `v1,` and HMAC-SHA256, or `v1a,` and Ed25519, as the trigger’s type says',
        ),
      ],
      requestBody: {
        description: 'What to deploy; or, by a registry’s trigger, that registry’s own notification',
        required: true,
        content: {
          ...json('DeployRequest'),
          ...Object.fromEntries(EVENTS_TYPES.map((type) => [type, { schema: { type: 'object' } }])),
        },
      },
      responses: {
        202: ACCEPTED[202],
        200: {
          description: `${IGNORED}; or, with \`wait\`, the events`,
          content: { ...EVENT_STREAM, ...TOLD },
        },
        ...refuses(...BODY_REFUSALS, 403),
      },
    },
  },
  '/hooks/{host}/{stack}/{trigger}/{secret}': {
    post: {
      operationId: 'hint',
      summary: 'Say that something is new, by an address that is a secret: for senders that cannot sign',
      parameters: [
        HOST,
        STACK,
        nameIn('trigger'),
        parameter('path', 'secret', { type: 'string', pattern: URL_SECRET_PATTERN.source }),
      ],
      requestBody: {
        description: 'By a registry’s trigger its notification; otherwise anything, for nobody looks at it',
        content: { '*/*': { schema: {} } },
      },
      responses: {
        202: ACCEPTED[202],
        200: { description: IGNORED, content: TOLD },
        ...refuses(...HOST_REFUSALS, 400, 413),
      },
    },
  },
  '/v1/hosts/{host}/enroll': {
    post: {
      operationId: 'enroll',
      summary: 'Tie a host’s name to its public key',
      security: [{ enrolKey: [] }],
      parameters: [HOST],
      requestBody: asks('Enrolment'),
      responses: {
        201: ok('The host is enrolled', 'Enrolled'),
        200: ok('It was, with this key', 'Enrolled'),
        ...refuses(...BODY_REFUSALS, 409),
      },
    },
  },
  '/v1/hosts/{host}/keys': {
    post: {
      operationId: 'rotateKey',
      summary: 'Put a new key of the host in the place of its present one, which must have signed the token',
      security: TOKEN,
      parameters: [HOST],
      requestBody: asks('Rotation'),
      responses: { 200: ok('The new key counts', 'Rotated'), ...refuses(...BODY_REFUSALS, 403) },
    },
  },
  '/v1/hosts/{host}/revoked': {
    put: {
      operationId: 'revoke',
      summary: 'Name all tokens that are revoked before they expire',
      security: TOKEN,
      parameters: [HOST],
      requestBody: asks('Revocation'),
      responses: { 200: ok('They are', 'Revoked'), ...refuses(...BODY_REFUSALS, 403) },
    },
  },
  '/v1/hosts/{host}/session': {
    post: {
      operationId: 'session',
      summary: 'Get a cookie that may read for some minutes, for a browser’s event stream',
      security: TOKEN,
      parameters: [HOST],
      responses: {
        200: {
          ...ok('The session has begun', 'Session'),
          headers: {
            'Set-Cookie': {
              schema: { type: 'string' },
              description: '`ropeway-{host}`, for this host alone',
            },
          },
        },
        ...refuses(...HOST_REFUSALS, 403),
      },
    },
  },
  '/v1/hosts/{host}': {
    get: {
      operationId: 'host',
      summary: 'A host, its agent and its stacks',
      security: READER,
      parameters: [HOST],
      responses: { 200: ok('The host', 'Host'), ...refuses(...HOST_REFUSALS, 403) },
    },
  },
  '/v1/hosts/{host}/stacks/{stack}': {
    get: {
      operationId: 'stack',
      summary: 'A stack, its triggers and its latest deploy',
      security: READER,
      parameters: [HOST, STACK],
      responses: { 200: ok('The stack', 'Stack'), ...refuses(...HOST_REFUSALS, 403, 404) },
    },
  },
  '/v1/hosts/{host}/stacks/{stack}/deploys': {
    post: {
      operationId: 'deploy',
      summary: 'Ask for a deploy with a token',
      security: TOKEN,
      parameters: [HOST, STACK, ...ASKING],
      requestBody: asks('DeployRequest'),
      responses: { ...ASKED, ...refuses(...BODY_REFUSALS, 403, 404) },
    },
  },
  '/v1/hosts/{host}/stacks/{stack}/rollback': {
    post: {
      operationId: 'rollback',
      summary: 'Ask for a roll back to an earlier release, with a token of scope rollback',
      security: TOKEN,
      parameters: [HOST, STACK, ...ASKING],
      requestBody: { content: json('RollbackRequest'), description: 'Left out: to the previous release' },
      responses: { ...ASKED, ...refuses(...BODY_REFUSALS, 403, 404) },
    },
  },
  '/v1/hosts/{host}/stacks/{stack}/releases': {
    get: {
      operationId: 'releases',
      summary: 'What a stack ran, as far as the relay’s log goes, newest first',
      security: READER,
      parameters: [HOST, STACK, LIMIT],
      responses: { 200: ok('The releases', 'Releases'), ...refuses(...HOST_REFUSALS, 400, 403, 404) },
    },
  },
  '/v1/hosts/{host}/deploys': {
    get: {
      operationId: 'deploys',
      summary: 'The latest deploys, newest first',
      security: READER,
      parameters: [HOST, parameter('query', 'stack', { type: 'string' }), LIMIT],
      responses: { 200: ok('The deploys', 'Deploys'), ...refuses(...HOST_REFUSALS, 400, 403) },
    },
  },
  '/v1/hosts/{host}/deploys/{id}': {
    get: {
      operationId: 'deployDetails',
      summary: 'A deploy, what it asked for and how it ended',
      security: READER,
      parameters: [HOST, DEPLOY],
      responses: { 200: ok('The deploy', 'Deploy'), ...refuses(...HOST_REFUSALS, 403, 404) },
    },
  },
  '/v1/hosts/{host}/deploys/{id}/events': {
    get: {
      operationId: 'events',
      summary: 'The events of a deploy, as they happen, to its end',
      security: READER,
      parameters: [
        HOST,
        DEPLOY,
        parameter('header', 'Last-Event-ID', { type: 'string' }, 'Go on after the event of this `seq`'),
      ],
      responses: {
        200: {
          description:
            '`id` is an event’s `seq`, `data` is an Event; of type `gap` where events are no longer kept. With `Accept: application/json`, what there is so far',
          content: { ...EVENT_STREAM, ...json('Events') },
        },
        ...refuses(...HOST_REFUSALS, 403, 404),
      },
    },
  },
  '/v1/hosts/{host}/deploys/{id}/cancel': {
    post: {
      operationId: 'cancel',
      summary:
        'End a deploy: one that waits does not begin, one that runs is undone from its next safe point on',
      security: TOKEN,
      parameters: [HOST, DEPLOY],
      requestBody: asks('Cancel'),
      responses: {
        202: ok('The agent was told; the deploy’s last event says what came of it', 'Cancelled'),
        200: ok('No agent had it yet: it is cancelled', 'Cancelled'),
        ...refuses(...BODY_REFUSALS, 403, 404, 409),
      },
    },
  },
  '/agent/{host}': {
    get: {
      operationId: 'agent',
      summary: 'The agent’s WebSocket; shared/PROTOCOL.md has the frames',
      security: TOKEN,
      parameters: [HOST],
      responses: { 101: { description: 'The socket is open' }, ...refuses(...HOST_REFUSALS, 400, 403) },
    },
  },
  '/watch': {
    get: {
      operationId: 'watch',
      summary: 'A page that shows a deploy as it happens: `/watch#host=…&deploy=…&token=…`',
      responses: {
        200: { description: 'The page', content: { 'text/html': { schema: { type: 'string' } } } },
      },
    },
  },
  '/healthz': {
    get: {
      operationId: 'health',
      summary: 'Whether the relay answers',
      responses: { 200: ok('It does', 'Health') },
    },
  },
  '/openapi.json': {
    get: {
      operationId: 'openapi',
      summary: 'This document',
      responses: {
        200: { description: 'OpenAPI 3.1', content: { 'application/json': { schema: { type: 'object' } } } },
      },
    },
  },
}

export function openapi(origin: string): object {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Ropeway relay',
      version: '1',
      description:
        'Receives signed deploy requests, hands them to the host’s agent, and shows what became of them.',
    },
    servers: [{ url: origin }],
    paths: PATHS,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'As `ropeway token` prints it',
        },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'ropeway-{host}',
          description: 'As POST …/session sets it. For GET alone, and where no Authorization is sent',
        },
        enrolKey: { type: 'http', scheme: 'bearer', description: 'ROPEWAY_ENROLL_KEY' },
      },
      schemas: Object.fromEntries(
        Object.entries(SCHEMAS).map(([name, zod]) => {
          const { $schema: _, ...jsonSchema } = z.toJSONSchema(zod)
          return [name, jsonSchema]
        }),
      ),
    },
  }
}
