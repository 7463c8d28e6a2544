#!/usr/bin/env bash
# npm test: everything. Types, lint, unit, invariants, the long sweeps and the faults once; the end-to-end suite on this machine's engine (or one that is set up
# here), then again on the newest engine and compose.
set -euo pipefail
cd "$(dirname "$0")/.."

suite() {
  echo "end to end on $ROPEWAY_ENGINE"
  vitest run --config test/e2e/vitest.config.ts "$@"
}
export -f suite

all() {
  npm run --silent check
  # The sweeps only compute and the rest mostly waits: they run beside it, and give way.
  local sweeps_log sweeps
  sweeps_log=$(mktemp)
  nice -n 19 vitest run --config test/vitest.config.ts --maxWorkers 2 .slow.test.ts >"$sweeps_log" 2>&1 &
  sweeps=$!
  # shellcheck disable=SC2064 # these very ones
  trap "kill $sweeps 2>/dev/null || true; cat '$sweeps_log'; rm -f '$sweeps_log'" EXIT
  bash test/faults/run.sh
  suite
  wait "$sweeps"
}
export -f all

bash test/machine/with-engine.sh default bash -euo pipefail -c all
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # Of the same agent again what another engine, compose or registry client may answer otherwise, and a few kills.
  ROPEWAY_KILLS=2 bash test/machine/with-engine.sh newest bash -euo pipefail -c \
    "suite contract-real.test.ts webhook.test.ts registry.test.ts releases.test.ts kill/kill.test.ts"
else
  echo "end to end on the newest engine: not here, it takes root on Debian to set one up beside this machine's own" >&2
fi
