// Pulls an image by the docker CLI, which knows the host's logins and credential helpers, and says what a failure means and what cures it.

import { setTimeout as sleep } from 'node:timers/promises'
import { Problem, type ProblemCode } from '../../../shared/problems.ts'
import type { Engine } from '../../ports.ts'
import { lastLines, run } from '../command.ts'

/** A registry that is being restarted, or a line that broke: three are as many as a person would try. */
const TRIES_MAX = 3
/** Before the second try, and twice as long before the third: a load balancer has found a registry that works by then. */
const PAUSE_MS = 2_000
/** A registry tells in well under a second whether it has something; one that no packet reaches must not hold a deploy that may need none. */
const ANSWER_MS_MAX = 20_000

interface Fault {
  /** What docker says on stderr, across its versions and registries. */
  readonly says: RegExp
  readonly code: ProblemCode
  readonly cure: string
  readonly passes?: boolean
}

const LOGIN = 'log this host in to the registry (`docker login`), as the user that the agent runs as'

// The first that fits counts: what hinders docker itself before what a registry answers, and what says more before what says less.
const FAULTS: readonly Fault[] = [
  {
    says: /no matching manifest|no match for platform|does not match the specified platform/i,
    code: 'platform-missing',
    cure: 'build it for this platform too',
  },
  {
    says: /permission denied while trying to connect/i,
    code: 'engine-unreachable',
    cure: 'let the user that the agent runs as use Docker: add it to the group docker, or run the agent as root',
  },
  {
    says: /cannot connect to the docker daemon|error during connect/i,
    code: 'engine-unreachable',
    cure: 'check that Docker runs',
  },
  {
    says: /error getting credentials|docker-credential-\S+.*(?:not found|no such file)/i,
    code: 'pull-failed',
    cure: 'put the credential helper of ~/.docker/config.json into the PATH of the agent (in its unit, where it is a service), and see that it works there',
  },
  {
    says: /no space left on device|disk quota exceeded/i,
    code: 'pull-failed',
    cure: 'make room on the disk that Docker keeps images on, as by `docker image prune`',
  },
  {
    says: /content digest \S+ not found|failed to (?:extract|register) layer/i,
    code: 'pull-failed',
    cure: 'Docker’s own store lacks a part of it: remove the image with `docker rmi`, then deploy again',
  },
  {
    says: /toomanyrequests|too many requests|rate ?limit/i,
    code: 'pull-failed',
    cure: 'the registry limits how often this host may pull: log in (`docker login`) for a higher limit, or wait until it is over',
  },
  {
    says: /certificate has expired or is not yet valid/i,
    code: 'pull-failed',
    cure: 'check the clock of this host (`timedatectl`), then the registry’s certificate',
  },
  {
    says: /x509:|tls: failed to verify/i,
    code: 'pull-failed',
    cure: 'let Docker trust who signed the registry’s certificate: put the CA into /etc/docker/certs.d/REGISTRY/ca.crt',
  },
  {
    says: /unauthorized|no basic auth credentials|authentication required|\b403\b|forbidden/i,
    code: 'pull-failed',
    cure: LOGIN,
  },
  {
    says: /manifest unknown|name unknown|not found|does not exist|denied/i,
    code: 'image-not-found',
    cure: `check the name and tag, and ${LOGIN}`,
  },
  {
    says: /\b50[0-4]\b|internal server error|bad gateway|service unavailable|gateway time-?out/i,
    code: 'pull-failed',
    cure: 'the registry has a fault of its own: deploy again when it is over',
    passes: true,
  },
  {
    says: /unexpected EOF|connection reset|TLS handshake timeout|broken pipe/i,
    code: 'pull-failed',
    cure: 'check that this host reaches the registry',
    passes: true,
  },
]
const UNKNOWN: Omit<Fault, 'says'> = {
  code: 'pull-failed',
  cure: 'check that this host reaches the registry',
}

/** As the port says. `pauseMs` before the second try. */
export async function pullImage(
  ref: string,
  onProgress: Parameters<Engine['pull']>[1],
  signal: AbortSignal,
  pauseMs = PAUSE_MS,
): Promise<void> {
  const layers = new Map<string, boolean>()
  const onLine = (line: string) => {
    const match = /^([0-9a-f]{12}): (.+)$/.exec(line.trim())
    if (!match?.[1] || !match[2]) return
    layers.set(match[1], /^(Pull complete|Already exists)/.test(match[2]))
    onProgress({ done: [...layers.values()].filter(Boolean).length, layers: layers.size })
  }
  for (let tries = 1; ; tries += 1) {
    const { exitCode, stderr } = await run('docker', ['pull', ref], { signal, onLine })
    if (exitCode === 0) return
    const fault = faultOf(stderr)
    if (fault.passes !== true || tries === TRIES_MAX) throw problemOf(ref, fault, stderr)
    await sleep(pauseMs * tries, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

/** As the port’s isInRegistry: a pull of what is here by its digest moves nothing and no name, and fails where the registry has it not. */
export async function isPullable(digest: string, signal: AbortSignal): Promise<boolean> {
  const inTime = AbortSignal.timeout(ANSWER_MS_MAX)
  try {
    const { exitCode, stderr } = await run('docker', ['pull', '--quiet', digest], {
      signal: AbortSignal.any([signal, inTime]),
    })
    if (exitCode === 0) return true
    const fault = faultOf(stderr)
    if (fault.code === 'image-not-found') return false
    throw problemOf(digest, fault, stderr)
  } catch (error) {
    signal.throwIfAborted()
    if (!inTime.aborted) throw error
    throw new Problem(
      'pull-failed',
      `the registry of ${digest} has said nothing for ${ANSWER_MS_MAX / 1000} s`,
      {
        cure: UNKNOWN.cure,
        cause: error,
      },
    )
  }
}

function faultOf(stderr: string): Omit<Fault, 'says'> {
  return FAULTS.find(({ says }) => says.test(stderr)) ?? UNKNOWN
}

function problemOf(ref: string, { code, cure }: Omit<Fault, 'says'>, stderr: string): Problem {
  const what =
    code === 'platform-missing' ? `${ref} has no image for this host’s platform` : `docker pull ${ref} failed`
  return new Problem(code, what, { log: lastLines(stderr), cure })
}
