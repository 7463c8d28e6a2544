// What is told to a relay of protocol 1, which closes the socket on any word that it does not know.

import { describe, expect, test } from 'vitest'
import { frameFor } from '../../../../agent/daemon/link/closed.ts'
import { agentEventSchema, type AgentEvent, type AgentLoggedEvent } from '../../../../shared/events.ts'
import { EVERY_AGENT_EVENT, EVERY_STEP } from '../../../support/every-event.ts'

/** As the relay is told it. The schema takes away what is no field of the event's. */
function told(event: AgentEvent): AgentLoggedEvent['event'] {
  const events = [{ seq: 1, at: 1, event: agentEventSchema.parse(event) }]
  const frame = frameFor(1, { type: 'events', deploy: '0123456789abcdef', events })
  if (frame.type !== 'events' || !frame.events[0]) throw new Error('the scene is broken')
  return frame.events[0].event
}

// What is known by its name alone has nothing to show to whoever does not know it: PROTOCOL.md asks for a `text`.
describe('whatever an agent says, whoever does not know it yet is told it in words', () => {
  test.each(Object.values(EVERY_AGENT_EVENT))('$type', (event) => {
    const said = told(event)
    if (said.type === event.type) return expect(said).toEqual(event)
    expect(said).toEqual({
      type: 'warning',
      problem: { code: event.type, message: expect.stringMatching(/ /) },
    })
  })

  test.each(Object.values(EVERY_STEP))('a step $kind', (step) => {
    const said = told({ type: 'undoing', steps: [step] })
    const [as] = said.type === 'undoing' ? said.steps : []
    if (as?.kind === step.kind) return expect(as).toEqual(step)
    expect(as).toMatchObject({ kind: 'command', command: [expect.stringMatching(/ /)] })
  })
})
