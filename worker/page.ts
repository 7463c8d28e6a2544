// GET /watch: one deploy as it happens, for people. `/watch#host=…&deploy=…&token=…`: the fragment is never sent, and the token leaves
// the address bar at once. It buys a session, whose cookie no script can read, and which alone the event stream needs.

const STYLE = `
:root { color-scheme: light dark; --dim: light-dark(#667, #99a); --line: light-dark(#dde, #334) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } p { color: var(--dim); margin: 0 0 1.5rem }
ol { list-style: none; margin: 0; padding: 0 }
li { display: grid; grid-template-columns: 6rem 9rem 1fr; gap: 1rem; padding: .25rem 0; border-top: 1px solid var(--line) }
li span { overflow-wrap: anywhere; white-space: pre-wrap } li span:first-child { color: var(--dim); font-variant-numeric: tabular-nums }
.succeeded { color: light-dark(#175, #5d9) } .failed, .stuck, .step-failed { color: light-dark(#b22, #f88) }
.warning, .undoing, .recovering, .resuming, .cancelled, .gap { color: light-dark(#a60, #fb5) }
form { display: grid; gap: .75rem; max-width: 24rem } form[hidden] { display: none }
input, button { font: inherit; padding: .4rem .6rem; width: 100%; box-sizing: border-box }`

const SCRIPT = `
const FINAL = ['succeeded', 'failed', 'stuck', 'superseded', 'cancelled', 'expired']
const RETRY_MS = 3000
const WAYS = { again: 'the roll begins again', forward: 'the roll is finished', back: 'the roll is undone' }
const $ = (id) => document.getElementById(id)
const given = new URLSearchParams(location.hash.slice(1))
let host = given.get('host') ?? '', deploy = given.get('deploy') ?? '', token = given.get('token')
given.delete('token')
history.replaceState(null, '', location.pathname + (given.size > 0 ? '#' + given : ''))
addEventListener('hashchange', () => location.reload())

let steps = [], seen = 0
function say(status, note = $('note').textContent) {
  $('status').textContent = status
  $('status').className = status
  $('note').textContent = note
}
const path = () => '/v1/hosts/' + encodeURIComponent(host)
const problem = ({ message, code, cure, log }) =>
  [message + ' (' + code + ')' + (cure ? ': ' + cure : ''), ...(log ?? [])].join('\\n')

function facts({ type, ...event }) {
  const words = []
  const step = steps[event.step]
  if (event.text) words.push(event.text)
  if (step?.text) words.push(step.text)
  else if (step) words.push([step.kind, step.service ?? step.image, step.out && 'out ' + step.out, step.back && 'back ' + step.back])
  if (event.plan) words.push(event.plan.steps.length + ' steps', event.plan.instances.join(' then '))
  if (event.way) words.push(WAYS[event.way] ?? event.way)
  if (event.steps) words.push(event.steps.length + ' steps')
  if (event.type === 'gap') words.push('events ' + event.from + ' to ' + event.to + ' are no longer kept')
  for (const key of ['actor', 'trust', 'image', 'tag', 'digest', 'release', 'of', 'reason', 'by']) if (event[key]) words.push(key + ' ' + event[key])
  if (event.force) words.push('forced')
  for (const [key, value] of Object.entries({ ...event.facts, ...event.services, ...event.images, ...event.env })) words.push(key + ' ' + value)
  if (event.ms !== undefined) words.push((event.ms / 1000).toFixed(2) + ' s')
  if (event.problem) words.push(problem(event.problem))
  if (event.undo) words.push('undoing failed too: ' + problem(event.undo))
  return [words.flat().filter(Boolean).join(', '), ...(event.damage ? damage(event.damage) : [])].join('\\n')
}

const damage = ({ serving, notServing, files, repair }) => [
  'serving: ' + (serving.join(', ') || 'nobody'),
  ...notServing.map(({ service, why }) => 'not serving: ' + service + ': ' + why),
  ...files.map(({ path, state }) => path + ': ' + state),
  ...(repair.length > 0 ? ['to repair it:', ...repair.map((line) => '  ' + line)] : []),
]

function draw({ seq, at, event }) {
  if (seq <= seen) return
  seen = seq
  if (event.type === 'planned') steps = event.plan.steps
  if (event.type === 'undoing' || event.type === 'resuming') steps = [...steps.slice(0, event.from ?? steps.length), ...event.steps]
  const line = document.createElement('li')
  line.className = event.type
  for (const text of [new Date(at).toLocaleTimeString(), event.type, facts(event)])
    line.appendChild(document.createElement('span')).textContent = text
  $('events').append(line)
  if (FINAL.includes(event.type)) say(event.type)
  document.title = $('status').textContent + ' – Ropeway'
}

function ask(note) {
  say('Watch a deploy', note)
  $('host').value = host
  $('deploy').value = deploy
  $('form').hidden = false
}
$('form').addEventListener('submit', (submitted) => {
  submitted.preventDefault()
  host = $('host').value.trim(); deploy = $('deploy').value.trim(); token = $('token').value.trim()
  $('token').value = ''
  $('form').hidden = true
  watch()
})

async function watch() {
  if (!host || !deploy) return ask('')
  try {
    // A token's own session first, even where an older one is still good: that may be for less.
    if (token) await fetch(path() + '/session', { method: 'POST', headers: { authorization: 'Bearer ' + token } })
    const answer = await fetch(path() + '/deploys/' + encodeURIComponent(deploy))
    if (answer.status === 401) { token = null; return ask('A token that may read is needed, as from: ropeway token --scope read') }
    if (answer.status === 404) return ask('This host has no such deploy.')
    if (!answer.ok) throw new Error('HTTP ' + answer.status)
    const { stack, actor, status } = await answer.json()
    say(FINAL.includes(status) ? status : 'running', stack + ' on ' + host + ', asked for by ' + actor)
  } catch {
    say('waiting', 'The relay does not answer. Trying again.')
    return setTimeout(watch, RETRY_MS)
  }
  const stream = new EventSource(path() + '/deploys/' + encodeURIComponent(deploy) + '/events')
  stream.onmessage = ({ data }) => {
    const logged = JSON.parse(data)
    draw(logged)
    if (FINAL.includes(logged.event.type)) stream.close()
  }
  // The browser itself comes back after a cut; refused, it gives up, and the session has ended or the relay is away.
  stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) setTimeout(watch, RETRY_MS) }
}
watch()`

const page = (nonce: string) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ropeway</title>
<style nonce="${nonce}">${STYLE}</style>
<h1 id="status"></h1>
<p id="note"></p>
<form id="form" hidden>
  <label>Host <input id="host" required autocomplete="off"></label>
  <label>Deploy <input id="deploy" required autocomplete="off"></label>
  <label>Token <input id="token" type="password" autocomplete="off"></label>
  <button>Watch</button>
</form>
<ol id="events" aria-live="polite"></ol>
<script type="module" nonce="${nonce}">${SCRIPT}</script>
</html>
`

export function watchPage(): Response {
  const nonce = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))))
  return new Response(page(nonce), {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      // form-action: were the script missing, the form's token would go into the address.
      'content-security-policy': `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    },
  })
}
