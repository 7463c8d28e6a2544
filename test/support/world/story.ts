// A tale in words, for whoever reads a failed simulation.

import type { AnyRequest } from '../../../shared/request.ts'
import type { Fault } from './faults.ts'
import type { Deed } from './people.ts'
import type { Tale, TaleStack, Told } from './tale.ts'
import type { Trial } from './trial.ts'

/** What was to happen, what happened, and what is wrong with it. */
export function storyOf({ stack, deploys }: Tale, { wrong, story, deploys: told }: Told): string {
  const happened = story.split('\n').filter((line) => !line.includes('step-progress'))
  return [
    describeStack(stack),
    ...deploys.map(
      (deploy, index) =>
        `Deploy ${index + 1}: ${describeTrial(deploy)}. It is ${told[index]?.status ?? 'not begun'}.`,
    ),
    'What happened:',
    ...happened,
    'What is wrong:',
    ...wrong.map((one) => `  ${one}`),
  ].join('\n')
}

function describeStack({
  instances,
  mount,
  image,
  hasHealthcheck,
  hasDown,
  hasOverride,
  isDualStack,
  isTls,
  config,
  ...rest
}: TaleStack): string {
  const facts = [
    `${instances} instances of ${image}`,
    `a mounted ${mount}`,
    hasHealthcheck && 'with a healthcheck',
    hasDown && instances > 2 && 'app2 is down',
    hasOverride && 'two compose files',
    isDualStack && 'both IP families',
    isTls && 'TLS',
    `requests take ${rest.requestMs} ms`,
    rest.keepaliveMinTimeoutMs > 0 && `keepalive_min_timeout ${rest.keepaliveMinTimeoutMs} ms`,
    ...Object.entries(config).map(([key, value]) => value !== undefined && `${key} ${JSON.stringify(value)}`),
  ]
  return `A stack: ${facts.filter(Boolean).join(', ')}.`
}

function describeTrial({ request, isAutomatic, sick, lives, awayMs, deeds = [] }: Trial): string {
  const parts = [
    `${describeRequest(request)}${isAutomatic ? ', by a trigger' : ''}`,
    sick === undefined ? '' : `the last instance is hurt before: ${JSON.stringify(sick)}`,
    ...lives.map((faults, index) => {
      const met = faults.map(describeFault).join(' and ')
      return index === 0 ? met : `then, after ${awayMs} ms, ${met || 'it is back'}`
    }),
    ...deeds.map(({ atMs, deed }) => `${atMs} ms on, somebody ${describeDeed(deed)}`),
  ]
  return parts.filter(Boolean).join('; ')
}

function describeRequest(request: AnyRequest): string {
  return JSON.stringify(request)
}

function describeFault({ kind, method, nth, isPersistent }: Fault): string {
  return `${kind} at ${method === 'any' ? `call ${nth} or later` : `${method} #${nth}`}${isPersistent ? ' and ever after' : ''}`
}

function describeDeed(deed: Deed): string {
  return [deed.kind, 'service' in deed && deed.service, 'ms' in deed && `for ${deed.ms} ms`]
    .filter(Boolean)
    .join(' ')
}
