#!/usr/bin/env bash
# The fault tests. They mount small disks, which takes root: anybody else is root in a namespace of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests=(vitest run --config test/faults/vitest.config.ts "$@")
if [ "$(id -u)" = 0 ]; then exec "${tests[@]}"; fi
if ! unshare -rm true 2>/dev/null; then
  echo "the fault tests need root or user namespaces (unshare -rm): they mount small disks to fill them" >&2
  exit 1
fi
exec unshare -rm "${tests[@]}"
