#!/usr/bin/env bash
# npm test: everything. Types, lint, unit, invariants, the sweeps and the faults; the end-to-end suite on this machine's engine (or one that is
# set up here), then on the newest engine and compose what may be otherwise there. Of the long simulations and kills a part by chance; with
# ROPEWAY_WHOLE=1 (npm run whole) all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

suite() {
  echo "end to end on $ROPEWAY_ENGINE"
  vitest run --config test/e2e/vitest.config.ts "$@"
}
export -f suite

# What mostly waits for time-outs and restarts, beside what mostly computes. Its output comes after the other's.
computed_and_faults() {
  local output faults ended=0
  output=$(mktemp)
  bash test/faults/run.sh >"$output" 2>&1 &
  faults=$!
  vitest run --config test/vitest.config.ts --maxWorkers 3 .slow.test.ts || ended=$?
  wait "$faults" || ended=$?
  cat "$output"
  rm "$output"
  return "$ended"
}
export -f computed_and_faults

all() {
  npm run --silent check
  computed_and_faults
  suite
}
export -f all

bash test/machine/with-engine.sh default bash -euo pipefail -c all
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # Of the same agent again what another engine, compose or registry client may answer otherwise, and kills of one kind.
  ROPEWAY_KILLS=1 bash test/machine/with-engine.sh newest bash -euo pipefail -c \
    "suite contract-real.test.ts registry.test.ts push.test.ts releases.test.ts kill/kill.test.ts"
elif [ -n "${ROPEWAY_ONE_ENGINE:-}" ]; then
  echo "not run: end to end on the newest engine, by ROPEWAY_ONE_ENGINE" >&2
else
  echo "the suite on the newest engine takes root on Debian, to set one up beside this machine's own; ROPEWAY_ONE_ENGINE=1 does without it" >&2
  exit 1
fi
