// The OpenAPI document of the relay, made from the schemas that the code itself uses. Served at /openapi.json.

import { z } from 'zod'
import {
  acceptedSchema,
  deployDetailsSchema,
  deploysSchema,
  enrolledSchema,
  enrolmentSchema,
  errorSchema,
  eventsSchema,
  healthSchema,
  hostSchema,
  stackSchema,
} from '../shared/api.ts'
import { loggedEventSchema } from '../shared/events.ts'
import { DEPLOYS_LISTED_MAX, NAME_PATTERN } from '../shared/limits.ts'
import { deployRequestSchema } from '../shared/request.ts'
import { IDEMPOTENCY_KEY_PATTERN } from '../shared/triggers/index.ts'

const SCHEMAS = {
  Accepted: acceptedSchema,
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
  409: 'The host is enrolled with another key',
  413: 'The body is too large',
  415: 'The body is not application/json in UTF-8, or it is compressed',
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
const BODY_REFUSALS = [400, 401, 413, 415, 503] as const

const PATHS = {
  '/hooks/{host}/{stack}/{trigger}': {
    post: {
      operationId: 'hook',
      summary: 'Ask for a deploy with a signed webhook (Standard Webhooks 1.0)',
      parameters: [
        HOST,
        STACK,
        nameIn('trigger'),
        parameter('header', 'webhook-id', { type: 'string' }, 'The same for every delivery of one request'),
        parameter('header', 'webhook-timestamp', { type: 'string' }, 'Seconds since 1970'),
        parameter(
          'header',
          'webhook-signature',
          { type: 'string' },
          '`v1,` and HMAC-SHA256 of `id.timestamp.body` in base64',
        ),
      ],
      requestBody: asks('DeployRequest'),
      responses: {
        202: ok('Stored; the agent gets it now, or when it is back', 'Accepted'),
        200: ok('The same request came before', 'Accepted'),
        ...refuses(...BODY_REFUSALS),
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
  '/v1/hosts/{host}': {
    get: {
      operationId: 'host',
      summary: 'A host, its agent and its stacks',
      security: TOKEN,
      parameters: [HOST],
      responses: { 200: ok('The host', 'Host'), ...refuses(401, 403, 503) },
    },
  },
  '/v1/hosts/{host}/stacks/{stack}': {
    get: {
      operationId: 'stack',
      summary: 'A stack, its triggers and its latest deploy',
      security: TOKEN,
      parameters: [HOST, STACK],
      responses: { 200: ok('The stack', 'Stack'), ...refuses(401, 403, 404, 503) },
    },
  },
  '/v1/hosts/{host}/stacks/{stack}/deploys': {
    post: {
      operationId: 'deploy',
      summary: 'Ask for a deploy with a token',
      security: TOKEN,
      parameters: [
        HOST,
        STACK,
        parameter('query', 'wait', { type: 'string' }, 'Answer with the events of the deploy, to its end'),
        parameter(
          'header',
          'Idempotency-Key',
          { type: 'string', pattern: IDEMPOTENCY_KEY_PATTERN.source },
          'A request that comes again with the same key and body is the same request',
        ),
      ],
      requestBody: asks('DeployRequest'),
      responses: {
        202: ok('Stored; the agent gets it now, or when it is back', 'Accepted'),
        200: {
          description: 'The same request came before; or, with `wait`, the events',
          content: { ...EVENT_STREAM, ...json('Accepted') },
        },
        ...refuses(...BODY_REFUSALS, 403, 404),
      },
    },
  },
  '/v1/hosts/{host}/deploys': {
    get: {
      operationId: 'deploys',
      summary: 'The latest deploys, newest first',
      security: TOKEN,
      parameters: [
        HOST,
        parameter('query', 'stack', { type: 'string' }),
        parameter('query', 'limit', { type: 'integer', minimum: 1, maximum: DEPLOYS_LISTED_MAX }),
      ],
      responses: { 200: ok('The deploys', 'Deploys'), ...refuses(400, 401, 403, 503) },
    },
  },
  '/v1/hosts/{host}/deploys/{id}': {
    get: {
      operationId: 'deployDetails',
      summary: 'A deploy, what it asked for and how it ended',
      security: TOKEN,
      parameters: [HOST, DEPLOY],
      responses: { 200: ok('The deploy', 'Deploy'), ...refuses(401, 403, 404, 503) },
    },
  },
  '/v1/hosts/{host}/deploys/{id}/events': {
    get: {
      operationId: 'events',
      summary: 'The events of a deploy, as they happen, to its end',
      security: TOKEN,
      parameters: [
        HOST,
        DEPLOY,
        parameter('header', 'Last-Event-ID', { type: 'string' }, 'Go on after the event of this `seq`'),
      ],
      responses: {
        200: {
          description:
            '`id` is an event’s `seq`, `data` is an Event. With `Accept: application/json`, what there is so far',
          content: { ...EVENT_STREAM, ...json('Events') },
        },
        ...refuses(401, 403, 404, 503),
      },
    },
  },
  '/agent/{host}': {
    get: {
      operationId: 'agent',
      summary: 'The agent’s WebSocket; shared/PROTOCOL.md has the frames',
      security: TOKEN,
      parameters: [HOST],
      responses: { 101: { description: 'The socket is open' }, ...refuses(400, 401, 403, 503) },
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
