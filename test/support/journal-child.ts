// A process that opens the journal and appends events until it is killed: `node journal-child.ts DIR ID`. It says each `seq` after the
// journal has taken it.

import { Journal } from '../../agent/daemon/journal/journal.ts'

const [dir = '', id = ''] = process.argv.slice(2)
const journal = new Journal(dir)
journal.receive(
  {
    id,
    stack: 'hello',
    trigger: 'deploy',
    actor: 'deploy',
    trust: 'signed',
    request: {},
    signedAt: 1,
    expiresAt: 2,
  },
  1,
)
journal.append(id, { type: 'started' }, 2)
process.stdout.write('open\n')
const append = () => {
  const { seq } = journal.append(id, { type: 'step-progress', step: 0, facts: {} }, Date.now())
  process.stdout.write(`${seq}\n`)
  setImmediate(append)
}
append()
