// Asks a member from where nginx stands: by a shell script there, with whatever program its image brings.

import { ASK_MS_MAX, unanswered, type Asker, type Unanswered } from '../roll/gates/ask.ts'
import type { Place } from './place.ts'

/** What a program in a container takes to start, beside the question itself. */
const EXEC_MS_MAX = 3_000

/** How engines report an image without a shell: by the exit code of the exec, or by refusing to start it. */
const [NOT_EXECUTABLE, NOT_FOUND] = [126, 127]
const NO_SHELL = /executable file not found|no such file or directory/i

const NO_PROGRAM: Unanswered = {
  fault: 'nginx’s container has neither curl nor bash nor wget to ask with',
  kind: 'unasked',
}

/** Asks from where nginx stands, by curl, bash or wget. Where there is none of them, the fault says so. */
export function askerInside(place: Pick<Place, 'exec'>): Asker {
  const run = async (script: string, args: readonly string[], ms: number, signal: AbortSignal) => {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(ms + EXEC_MS_MAX)])
    try {
      const { exitCode, stdout } = await place.exec(['sh', '-c', script, 'sh', ...args], inTime)
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
      return said === 'none' ? NO_PROGRAM : unanswered(said || 'no answer')
    },
    async tcp({ ip, port }, signal) {
      const seconds = String(Math.ceil(ASK_MS_MAX / 1000))
      const said = await run(ASK_TCP, [ip, String(port), seconds], ASK_MS_MAX, signal)
      if (said === 'open') return undefined
      return said === 'none' ? NO_PROGRAM : unanswered(said || 'no answer')
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
