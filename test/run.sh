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

# The sweeps only compute, the faults mostly wait: side by side.
sweeps_and_faults() {
  local log faults ok=0
  log=$(mktemp)
  bash test/faults/run.sh >"$log" 2>&1 &
  faults=$!
  vitest run --config test/vitest.config.ts .slow.test.ts || ok=1
  wait "$faults" || ok=1
  cat "$log"
  rm "$log"
  return "$ok"
}
export -f sweeps_and_faults

all() {
  npm run --silent check
  sweeps_and_faults
  suite
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
