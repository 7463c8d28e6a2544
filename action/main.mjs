// The action: asks for a deploy with the job's own token, shows how it goes, and ends as it ended. Run by action.yml.

import { Fault } from './fault.mjs'
import { readInputs } from './inputs.mjs'
import { ask, follow, idToken } from './relay.mjs'
import { Report } from './report.mjs'
import { Runner } from './runner.mjs'

/** @import { Inputs } from './inputs.mjs' */

const runner = new Runner(process.env)
process.exitCode = await run().catch((error) => {
  if (!(error instanceof Fault)) throw error
  runner.endGroup()
  runner.annotate('error', error.message)
  return 1
})

async function run() {
  const inputs = readInputs(process.env)
  const deadline = AbortSignal.timeout(inputs.timeoutMs)
  try {
    return await deploy(inputs, deadline)
  } catch (error) {
    if (!deadline.aborted) throw error
    throw new Fault(`after ${inputs.timeoutMs / 60_000} minutes there is no answer`)
  }
}

/**
 * @param {Inputs} inputs
 * @param {AbortSignal} deadline
 * @returns {Promise<number>}
 */
async function deploy(inputs, deadline) {
  const token = await idToken(process.env, inputs, deadline)
  runner.mask(token)
  const { id, host, stack, isOnline } = await ask(inputs, token, deadline)
  // For people, who have no token that this job could give them: the page asks for theirs.
  const page = `${inputs.address.origin}/watch#host=${host}&deploy=${id}`
  const report = new Report(runner, { id, host, stack, page })
  runner.output('deploy', id)
  runner.output('url', page)
  runner.log(`deploy ${id} of ${stack} on ${host}: ${page}`)
  if (!isOnline) runner.annotate('notice', `the agent of ${host} is offline; deploy ${id} waits for it`)
  let fault
  try {
    const onLost = (/** @type {string} */ why) => runner.log(`following it again: ${why}`)
    for await (const event of follow(inputs, token, deadline, onLost)) if (report.show(event)) break
  } catch (error) {
    if (!(error instanceof Fault) && !deadline.aborted) throw error
    const why = error instanceof Fault ? error.message : `no end after ${inputs.timeoutMs / 60_000} minutes`
    fault = `${why}; deploy ${id} goes on without this job, and is ${report.status} as far as it knows`
    runner.endGroup()
    runner.annotate('error', fault)
  }
  runner.output('status', report.status)
  runner.output('digests', JSON.stringify(report.digests()))
  report.summarize(fault)
  return report.outcome?.type === 'succeeded' ? 0 : 1
}
