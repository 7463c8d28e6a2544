#!/usr/bin/env bash
# npm run demo [-- --keep]: sets the machine up, then shows a roll. See main.ts.
set -euo pipefail
cd "$(dirname "$0")/../.."
keep=()
for argument in "$@"; do
  if [ "$argument" = --keep ]; then keep=(--keep); fi
done
bash test/machine/with-engine.sh "${keep[@]}" default node test/demo/main.ts "$@"
