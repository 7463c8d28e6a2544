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
  vitest run --config test/vitest.config.ts .slow.test.ts
  bash test/faults/run.sh
  suite
}
export -f all

bash test/machine/with-engine.sh default bash -euo pipefail -c all
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # The same agent again: a few of its kills are enough, and the judge of them is the same.
  ROPEWAY_KILLS=2 bash test/machine/with-engine.sh newest bash -euo pipefail -c \
    "suite --exclude 'test/e2e/kill/{judge,faults}.test.ts'"
else
  echo "end to end on the newest engine: not here, it takes root on Debian to set one up beside this machine's own" >&2
fi
