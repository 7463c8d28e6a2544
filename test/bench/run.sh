#!/usr/bin/env bash
# Compares Ropeway with its peers and prints markdown tables: run.sh [rolls|hooks|agent|relay|pushes|senders] [options of that one]. All by default.
# Numbers are ratios within one run: the peers run beside it on the same machine, in turns.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=test/machine/common.sh
. test/machine/common.sh

# Far above what a benchmark takes on two slow cores: one that hangs must end, with its cleaning up.
SECONDS_MAX=2400

all=(rolls hooks agent relay pushes senders)
case ${1:-} in
rolls | hooks | agent | relay | pushes | senders)
  all=("$1")
  shift
  ;;
esac

export PATH=$PWD/node_modules/.bin:$PATH
measure() { timeout --foreground --kill-after=60 "$SECONDS_MAX" node "test/bench/$1.ts" "${@:2}"; }

# Ten thousand agents take a file each, on both sides.
ulimit -n "$(ulimit -Hn)"

# These need no engine.
case ${all[*]} in
relay | senders)
  node test/bench/machine.ts --without-engine
  measure "${all[0]}" "$@"
  exit
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

node test/bench/machine.ts
for one in "${all[@]}"; do measure "$one" "$@"; done
