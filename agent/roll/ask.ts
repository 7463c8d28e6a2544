// Asks a member, or nginx itself: from where the agent stands, or from inside nginx's container where the agent reaches no container,
// as with a rootless engine or one in a virtual machine.

import type { Container, Ports, Remote } from '../ports.ts'

/** One question: a healthy app answers well within it, a wedged one must not hold the gate. */
const ASK_MS_MAX = 2_000
/** A request through nginx may wait for a server that nginx tries first. */
export const DOOR_MS_MAX = 5_000
/** What a program in a container takes to start, beside the question itself. */
const EXEC_MS_MAX = 3_000

export type From = 'agent' | 'nginx'

export interface HttpTarget extends Remote {
  readonly path: string
  readonly host: string
  readonly tls: boolean
}

/** A status, or why there is none. */
export type Answer = { readonly status: number } | Unanswered

export interface Unanswered {
  readonly fault: string
  /**
   * `silence`: nothing was heard of the other side, not even a refusal. `unasked`: there was no way to ask. `no-http`: it took the connection,
   * and speaks something else.
   */
  readonly kind?: 'silence' | 'unasked' | 'no-http'
}

export interface Asker {
  http(target: HttpTarget, signal: AbortSignal, timeoutMs?: number): Promise<Answer>
  /** Whether a TCP connection is taken: why not, or undefined. */
  tcp(remote: Remote, signal: AbortSignal): Promise<Unanswered | undefined>
}

/** The one who asks. From inside nginx's container it takes curl, bash or wget there: a fault says so where there is none. */
export function askerFrom(from: From, ports: Ports, proxy: Container): Asker {
  return from === 'agent' ? askerHere(ports) : askerInside(ports, proxy)
}

const SILENCE = /^(?:EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|ECONNABORTED|EADDRNOTAVAIL|no answer\b)/

/** Of Node: what came was no HTTP, or the TLS handshake failed, or the other side hung up. Of curl: 1, 8, 35, 52 and 56 are the same. */
const NO_HTTP = /^(?:HPE_|ERR_SSL|ERR_TLS|EPROTO|ECONNRESET|EPIPE|no HTTP|curl's fault (?:1|8|35|52|56)$)/

function faultOf(fault: string): Unanswered {
  const kind = SILENCE.test(fault) ? 'silence' : NO_HTTP.test(fault) ? 'no-http' : undefined
  return { fault, ...(kind === undefined ? {} : { kind }) }
}

function askerHere({ http }: Ports): Asker {
  return {
    async http(target, signal, timeoutMs = ASK_MS_MAX) {
      const answer = await http.get(target, timeoutMs, signal)
      return 'fault' in answer ? faultOf(answer.fault) : answer
    },
    async tcp(remote, signal) {
      const fault = await http.connect(remote, ASK_MS_MAX, signal)
      return fault === undefined ? undefined : faultOf(fault)
    },
  }
}

/** An image without a shell: engines say so by the exit code of the exec, or refuse to start it. */
const [NOT_EXECUTABLE, NOT_FOUND] = [126, 127]
const NO_SHELL = /executable file not found|no such file or directory/i

const NO_PROGRAM: Unanswered = {
  fault: 'nginx’s container has neither curl nor bash nor wget to ask with',
  kind: 'unasked',
}

function askerInside({ engine }: Ports, proxy: Container): Asker {
  const run = async (script: string, args: readonly string[], ms: number, signal: AbortSignal) => {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(ms + EXEC_MS_MAX)])
    try {
      const { exitCode, stdout } = await engine.exec(proxy.id, ['sh', '-c', script, 'sh', ...args], inTime)
      return exitCode === NOT_EXECUTABLE || exitCode === NOT_FOUND ? 'none' : stdout.trim()
    } catch (error) {
      if (!signal.aborted && inTime.aborted) return `no answer within ${ms} ms`
      if (!signal.aborted && NO_SHELL.test(String(error))) return 'none'
      throw error
    }
  }
  return {
    async http({ ip, port, path, host, tls }, signal, timeoutMs = ASK_MS_MAX) {
      const seconds = String(Math.ceil(timeoutMs / 1000))
      const args = [bracketed(ip), String(port), path, host, tls ? 'https' : 'http', seconds]
      const said = await run(ASK_HTTP, args, timeoutMs, signal)
      const status = Number(/^\d{3}$/.exec(said)?.[0] ?? 0)
      if (status > 0) return { status }
      return said === 'none' ? NO_PROGRAM : faultOf(said || 'no answer')
    },
    async tcp({ ip, port }, signal) {
      const seconds = String(Math.ceil(ASK_MS_MAX / 1000))
      const said = await run(ASK_TCP, [ip, String(port), seconds], ASK_MS_MAX, signal)
      if (said === 'open') return undefined
      return said === 'none' ? NO_PROGRAM : faultOf(said || 'no answer')
    },
  }
}

const bracketed = (ip: string) => (ip.includes(':') ? `[${ip}]` : ip)

// Prints the status, `none` where no program can ask, or why there is no answer. $1 address $2 port $3 path $4 Host $5 scheme $6 seconds
export const ASK_HTTP = `
if command -v curl >/dev/null 2>&1; then
  code=$(curl -gsk --noproxy '*' -o /dev/null -m "$6" -w '%{http_code}' --connect-to "::$1:$2" "$5://$4$3")
  end=$?
  case "$code:$end" in
    000:7) echo ECONNREFUSED ;;
    000:28) echo "no answer within $6 s" ;;
    000:*) echo "curl's fault $end" ;;
    *) echo "$code" ;;
  esac
elif [ "$5" = http ] && command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
  ip=\${1#[}
  line=$(timeout "$6" bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "open " && printf "GET %s HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" "$2" "$3" >&3 && IFS= read -r line <&3 && printf %s "$line"' "\${ip%]}" "$2" "$3" "$4" 2>/dev/null)
  end=$?
  case "$end:$line" in
    *:"open HTTP/"*) line=\${line#open * }; echo "\${line%% *}" ;;
    124:*) echo "no answer within $6 s" ;;
    *:open*) echo "no HTTP" ;;
    *) echo ECONNREFUSED ;;
  esac
elif command -v wget >/dev/null 2>&1; then
  limit=
  if command -v timeout >/dev/null 2>&1; then limit="timeout $6"; fi
  said=$($limit wget -T "$6" -S -O /dev/null --header "Host: $4" "$5://$1:$2$3" 2>&1)
  code=$(printf '%s\\n' "$said" | sed -n 's#.*HTTP/[0-9.]* \\([0-9][0-9][0-9]\\).*#\\1#p' | sed -n 1p)
  if [ -n "$code" ]; then echo "$code"; else
    case "$said" in *refused*) echo ECONNREFUSED ;; *) echo 'no answer' ;; esac
  fi
else
  echo none
fi`

// Prints `open`, `none`, or why there is no connection. $1 address $2 port $3 seconds
export const ASK_TCP = `
if command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
  timeout "$3" bash -c ': <>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
elif command -v nc >/dev/null 2>&1; then
  nc -z -w "$3" "$1" "$2" >/dev/null 2>&1
elif command -v curl >/dev/null 2>&1; then
  ip=$1
  case "$ip" in *:*) ip="[$ip]" ;; esac
  curl -gs --noproxy '*' -o /dev/null -m "$3" "http://$ip:$2/"
  case $? in 5|6|7|28) false ;; *) true ;; esac
else
  echo none
  exit
fi
case $? in 0) echo open ;; 124) echo "no answer within $3 s" ;; *) echo ECONNREFUSED ;; esac`
