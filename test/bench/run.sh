#!/usr/bin/env bash
# Compares Ropeway with its peers and prints markdown tables: run.sh [rolls|hooks|agent] [--rounds N]. All three by default.
# Numbers are ratios within one run: the peers run beside it on the same machine, in turns.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=test/machine/common.sh
. test/machine/common.sh

# Far above what a benchmark takes on two slow cores: one that hangs must end, with its cleaning up.
SECONDS_MAX=2400

all=(rolls hooks agent)
case ${1:-} in
rolls | hooks | agent)
  all=("$1")
  shift
  ;;
esac

is_running() { [ -n "$(engine_dockerd default)$(engine_dockerd newest)" ]; }
# An engine that was there before may be in somebody's use.
if is_running; then was_running=yes; else was_running=no; fi
tear_down() {
  # Only there still if its benchmark was killed.
  [ "$(id -u)" != 0 ] || bash test/bench/swarm.sh stop
  [ "$was_running" = yes ] || bash test/machine/teardown.sh
}
trap tear_down EXIT
exports=$(bash test/machine/setup.sh)
eval "$exports"
export PATH=$PWD/node_modules/.bin:$PATH

node test/bench/machine.ts
for one in "${all[@]}"; do
  timeout --foreground --kill-after=60 "$SECONDS_MAX" node "test/bench/$one.ts" "$@"
done
