#!/usr/bin/env bash
# with-engine.sh [--keep] default|newest COMMAND...: sets the machine up, runs the command on that engine, and stops the engine
# again if it was not running before (unless --keep). Called by test/run.sh, test/demo/run.sh and test/bench/run.sh.
set -euo pipefail
# shellcheck source=test/machine/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

keep=no
if [ "${1:-}" = --keep ]; then
  keep=yes
  shift
fi
name=$1
shift

if [ "$(id -u)" = 0 ] && engine_gone "$name" && [ "$keep" = no ]; then
  # shellcheck disable=SC2329 # called by the trap
  finish() {
    take_lock
    engine_gone "$name" || say "stopping the $name engine"
    stop_engine "$name"
  }
  trap finish EXIT
fi
exports=$(bash "$ROOT_DIR/test/machine/setup.sh" "$name")
eval "$exports"
cd "$ROOT_DIR"
# Scripts run on the Node that the project names, whatever the machine has.
export PATH="$ROOT_DIR/node_modules/.bin:$PATH"
"$@"
