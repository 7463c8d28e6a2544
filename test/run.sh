#!/usr/bin/env bash
# npm test: everything. Types, lint, unit, invariants, the long sweeps and the faults; the end-to-end suite on this machine's engine (or one
# that is set up here), then a part of it on the newest engine and compose.
set -euo pipefail
cd "$(dirname "$0")/.."

suite() {
  echo "end to end on $ROPEWAY_ENGINE"
  vitest run --config test/e2e/vitest.config.ts "$@"
}
export -f suite

all() {
  npm run --silent check
  # Computing takes the cores, and what waits beside it waits for ever.
  vitest run --config test/vitest.config.ts --maxWorkers 3 .slow.test.ts
  bash test/faults/run.sh
  suite
}
export -f all

bash test/machine/with-engine.sh default bash -euo pipefail -c all
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # Of the same agent again what another engine, compose or registry client may answer otherwise, and two kills of each kind.
  ROPEWAY_KILLS=2 bash test/machine/with-engine.sh newest bash -euo pipefail -c \
    "suite contract-real.test.ts webhook.test.ts registry.test.ts push.test.ts releases.test.ts kill/kill.test.ts"
elif [ -n "${ROPEWAY_ONE_ENGINE:-}" ]; then
  echo "not run: end to end on the newest engine, by ROPEWAY_ONE_ENGINE" >&2
else
  echo "the suite on the newest engine takes root on Debian, to set one up beside this machine's own; ROPEWAY_ONE_ENGINE=1 does without it" >&2
  exit 1
fi
