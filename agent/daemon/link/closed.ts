// What a relay of protocol 1 can read. It closes the socket on any word that it does not know, so it is told everything in the words that there
// were then. Nothing is ever added to these lists.

import type { AgentLoggedEvent, ToldDeclined } from '../../../shared/events.ts'
import { describeStep, type ToldStep } from '../../../shared/plan.ts'
import type { FromAgent, Hello } from '../../../shared/protocol.ts'

/** The first version that keeps what it does not know. */
const OPEN_VERSION = 2

const words = (text: string) => new Set<string>(text.trim().split(/\s+/))

const TRIGGERS = words(
  `standard-webhooks standard-webhooks-v1a url github-actions gitlab-ci google oidc docker-hub ghcr distribution harbor quay gitlab gitea ecr
   artifact-registry acr zot jfrog`,
)
const CHATS = words('slack discord telegram mattermost teams')
const EVENTS = words(
  `received started warning planned step-started step-progress step-finished step-failed recovering resuming undoing succeeded failed stuck
   superseded cancelled expired`,
)
const STEPS = words('pull switch drain command update await-healthy soak verify')
const MOMENTS = words('before after')
const WAYS = words('again forward back')
const FILE_STATES = words('as-before as-wanted half-way changed unreadable')
const PROBLEMS = words(
  `config-invalid usage-invalid key-unusable journal-unusable agent-running request-invalid request-unverified request-stale claims-refused
   issuer-unreachable undeliverable rate-limited stack-unknown image-not-allowed env-not-allowed service-unknown compose-invalid
   compose-not-editable compose-edit-spills compose-changed compose-failed nginx-not-running nginx-refused nginx-not-mounted nginx-stale
   nginx-changed nginx-reload-failed upstream-unknown upstream-too-small image-not-found platform-missing pull-failed container-missing
   container-exited container-unhealthy container-wrong container-changed instance-worse command-failed proxy-unhealthy engine-unreachable
   deadline cancelled interrupted stack-busy stack-locked request-outdated release-unknown agent-offline not-cancellable relay-refused
   relay-unreachable relay-unavailable host-taken not-found unauthorized internal`,
)

/** The hello as a relay of this version can read it, and the triggers and chats that it is not told of. */
export function helloFor(version: number, hello: Hello): { hello: Hello; withheld: string[] } {
  if (version >= OPEN_VERSION) return { hello, withheld: [] }
  const { triggers, chats = [] } = hello
  const [toldTriggers, toldChats] = [triggers, chats].map((all) => all.filter(isNamed)) as [
    typeof triggers,
    typeof chats,
  ]
  return {
    hello: { ...hello, triggers: toldTriggers, ...(hello.chats === undefined ? {} : { chats: toldChats }) },
    withheld: [
      ...triggers
        .filter((each) => !isNamed(each))
        .map(({ stack, name, type }) => `${stack}/${name} (${type})`),
      ...chats.filter((each) => !isNamed(each)).map(({ name, type }) => `chat ${name} (${type})`),
    ],
  }
}

const isNamed = (each: { readonly type: string; readonly stack?: string }) =>
  (each.stack === undefined ? CHATS : TRIGGERS).has(each.type)

/** A frame as a relay of this version can read it. */
export function frameFor(version: number, frame: FromAgent): FromAgent {
  if (version >= OPEN_VERSION) return frame
  switch (frame.type) {
    case 'hello':
      return helloFor(version, frame).hello
    case 'events':
      return {
        ...frame,
        events: frame.events.map((logged) => ({ ...logged, event: closedEvent(logged.event) })),
      }
    case 'declined':
      return { ...frame, event: closedEvent(frame.event) as ToldDeclined }
  }
}

type Event = AgentLoggedEvent['event']

function closedEvent(event: Event): Event {
  if (!EVENTS.has(event.type)) return inWords(event.type, 'text' in event ? event.text : undefined)
  switch (event.type) {
    case 'planned':
      return { ...event, plan: { ...event.plan, steps: event.plan.steps.map(closedStep) } }
    case 'resuming':
    case 'undoing':
      return { ...event, steps: event.steps.map(closedStep) }
    case 'recovering':
      return WAYS.has(event.way) ? event : inWords(event.type, event.way)
    case 'failed':
    case 'step-failed':
      return { ...event, problem: closedProblem(event.problem) }
    case 'stuck': {
      const { damage, ...rest } = event
      const isReadable = damage?.files.every(({ state }) => FILE_STATES.has(state)) ?? false
      const [problem, undo] = [closedProblem(event.problem), closedProblem(event.undo)]
      return { ...rest, problem, undo, ...(isReadable && damage ? { damage } : {}) }
    }
    default:
      return event
  }
}

// The code of a warning was open from the first.
function inWords(code: string, text: string | undefined): Event {
  return { type: 'warning', problem: { code, message: text ?? code } }
}

// Events name steps by their place in the plan, so that each needs one that can be read.
function closedStep(step: ToldStep): ToldStep {
  if (STEPS.has(step.kind) && (step.kind !== 'command' || MOMENTS.has(step.when))) return step
  const service = 'service' in step ? String(step.service) : 'the stack'
  return { kind: 'command', when: 'before', service, command: [describeStep(step)] }
}

function closedProblem<P extends { readonly code: string; readonly message: string }>(problem: P): P {
  if (PROBLEMS.has(problem.code)) return problem
  return { ...problem, code: 'internal', message: `${problem.message} (${problem.code})` }
}
