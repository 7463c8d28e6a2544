// Problem: the one error type for everything that can go wrong in operation. The codes are forever: users match on them.

import { z } from 'zod'

/** Every code there is, with what it means. The sentence of a single problem says where and what to do about it. */
export const PROBLEMS = {
  'config-invalid': 'ropeway.yml cannot be used as it is',
  'usage-invalid': 'the command line or its environment cannot be used as it is',
  'key-unusable': 'the host’s key is missing, damaged or readable by others',
  'journal-unusable': 'the agent’s journal cannot be read or written',
  'agent-running': 'another process uses the same data directory',
  'request-invalid': 'the deploy request is not well formed',
  'request-unverified': 'what the relay delivered was not signed by a trigger or token of this host',
  'request-stale': 'the request was signed too long ago, or by a clock that is ahead',
  'claims-refused':
    'the CI job’s token is genuine, but another repository’s, branch’s or event’s than the trigger asks for',
  'issuer-unreachable': 'who signs the tokens of CI jobs does not answer, and its keys are not known',
  undeliverable: 'the agent was offered the request again and again and never took it',
  'rate-limited': 'too many requests; it is safe to ask again after the time that the answer names',
  'stack-unknown': 'the host has no stack of that name',
  'image-not-allowed': 'the host’s policy does not allow this image repository',
  'env-not-allowed': 'the host’s policy does not allow this environment variable to be set',
  'service-unknown': 'a service that should be rolled is not in the compose file',
  'compose-invalid': 'docker compose refuses the compose file',
  'compose-not-editable': 'the compose file cannot be edited for one service alone',
  'compose-edit-spills': 'the edit would change a service that is not rolled',
  'compose-changed': 'somebody else changed the compose file during the roll',
  'file-unusable': 'a file that the roll edits cannot be read or written',
  'compose-failed': 'docker compose could not recreate the service',
  'nginx-not-running': 'the proxy’s container does not run',
  'nginx-refused': 'nginx refuses its configuration',
  'nginx-not-mounted': 'the file with the upstream is not mounted from the host',
  'nginx-stale': 'nginx does not see the file that is on the host',
  'nginx-changed': 'somebody else changed the nginx configuration during the roll',
  'nginx-reload-failed': 'nginx did not take the new configuration',
  'proxy-several': 'several nginx send requests to the instances, and only one would be told who is out',
  'upstream-unknown': 'the upstream to roll cannot be found',
  'upstream-too-small': 'fewer than two live servers: one cannot be taken out without an outage',
  'image-not-found': 'the image does not exist, neither in its registry nor on the host',
  'platform-missing': 'the image is not for the platform of this host',
  'pull-failed': 'the image could not be pulled',
  'container-missing': 'a service that should be rolled has no running container',
  'container-exited': 'the new container stopped',
  'gate-unusable': 'what the roll would ask of a new version, what runs now cannot answer',
  'container-unhealthy': 'the new container did not become healthy in time',
  'container-wrong': 'the running container is not the wanted one',
  'container-changed': 'somebody else recreated, scaled or removed a container during the roll',
  'instance-worse': 'the new instance answers worse in traffic than the others',
  'command-failed': 'a command of the stack, as before or after a roll, failed',
  'proxy-unhealthy': 'requests through nginx fail although every server is back',
  'engine-unreachable': 'the Docker engine does not answer',
  deadline: 'a step took longer than its deadline',
  cancelled: 'the deploy was cancelled',
  interrupted: 'the agent stopped during the roll',
  'stack-busy': 'another process rolls this stack at the moment',
  'stack-locked': 'the stack is stuck since an earlier deploy, and waits for a person',
  'request-outdated': 'a build that is newer than the requested one was deployed already',
  'release-unknown': 'there is no such release of the stack to go back to',
  'agent-offline': 'the agent is not connected, and only it can do this',
  'not-cancellable': 'the deploy is over',
  'relay-refused': 'the relay refused the request',
  'relay-unreachable': 'the relay does not answer',
  'relay-unavailable': 'the relay could not store or look up what was asked; it is safe to ask again',
  'host-taken': 'the relay knows a host of that name by another key',
  'not-found': 'there is no such thing',
  unauthorized: 'the credentials are missing, wrong or expired',
  internal: 'a bug in Ropeway; please report it',
} as const

export type ProblemCode = keyof typeof PROBLEMS

/** A problem as data, as events and answers carry it. `log` holds the failing container's last lines. */
export interface ProblemReport {
  readonly code: ProblemCode
  /** One sentence that names the place. */
  readonly message: string
  /** One sentence that names the cure, where there is one. */
  readonly cure?: string | undefined
  readonly log?: readonly string[] | undefined
}

interface ProblemOptions {
  readonly cure?: string
  readonly log?: readonly string[]
  readonly cause?: unknown
}

/**
 * An operational failure. Thrown where it is found, caught only by the loop that owns the work.
 *
 *     throw new Problem('image-not-allowed', 'ghcr.io/evil/app is not allowed for stack hello', {
 *       cure: 'add it to stacks.hello.allow.images in ropeway.yml',
 *     })
 */
export class Problem extends Error {
  readonly code: ProblemCode
  readonly cure: string | undefined
  readonly log: readonly string[] | undefined

  constructor(code: ProblemCode, message: string, options: ProblemOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'Problem'
    this.code = code
    this.cure = options.cure
    this.log = options.log
  }

  toJSON(): ProblemReport {
    return {
      code: this.code,
      message: this.message,
      ...(this.cure === undefined ? {} : { cure: this.cure }),
      ...(this.log === undefined ? {} : { log: this.log }),
    }
  }
}

/** Any thrown value as a report: a Problem as it is, everything else as `internal`, whose message the operator may need. */
export function reportOf(error: unknown): ProblemReport {
  if (error instanceof Problem) return error.toJSON()
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) }
}

/** Room for a dozen faults; who has more is helped by the first ones. */
const FAULTS_CHARS_MAX = 500

/** What is wrong with a body, for its sender. Keys in it are the sender's choice: nothing of them may move a cursor or fill a log. */
export function faultsOf(error: z.ZodError): string {
  return z
    .prettifyError(error)
    .replaceAll(/\p{Cc}+/gu, ' ')
    .slice(0, FAULTS_CHARS_MAX)
}
