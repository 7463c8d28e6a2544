// A program that is run for the roll: what it says, and that it has ended when its wait has.

import { expect, test } from 'vitest'
import { run } from '../../../agent/adapters/command.ts'

const never = new AbortController().signal

test('both outputs in the order in which they come', async () => {
  let heard = ''
  const onText = (text: string) => (heard += text)
  const script = 'echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; exit 3'
  const result = await run('sh', ['-c', script], { signal: never, onText })
  expect(result).toEqual({ exitCode: 3, stdout: 'one\nthree\n', stderr: 'two\n' })
  expect(heard).toBe('one\ntwo\nthree\n')
})

test('its environment is this process’s, and what it is given', async () => {
  const { stdout } = await run('sh', ['-c', 'echo $HOME,$MARK'], { signal: never, env: { MARK: 'x' } })
  expect(stdout).toBe(`${process.env['HOME'] ?? ''},x\n`)
})

test('an abort is heard once the program has ended, whatever it does about signals', async () => {
  const stop = new AbortController()
  const pid = Promise.withResolvers<number>()
  const running = run('sh', ['-c', 'trap "" TERM; echo $$; sleep 30'], {
    signal: stop.signal,
    onLine: (line) => pid.resolve(Number(line)),
  })
  const child = await pid.promise
  stop.abort(new Error('enough'))
  await expect(running).rejects.toThrow('enough')
  expect(() => process.kill(child, 0)).toThrow('ESRCH')
})

test('who has stopped already starts nothing', async () => {
  await expect(
    run('no-such-program', [], { signal: AbortSignal.abort(new Error('enough')) }),
  ).rejects.toThrow('enough')
})

test('a program that is not there', async () => {
  await expect(run('no-such-program', [], { signal: never })).rejects.toMatchObject({ code: 'ENOENT' })
})
