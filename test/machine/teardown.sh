#!/usr/bin/env bash
# Stops the engines that setup.sh started and waits until they are gone; called by
# hand or at the end of a test run. A user's own engine is left alone.
# --purge also removes our images, data roots and caches. Installed packages stay.
set -euo pipefail
# shellcheck source=test/machine/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
'' | --purge) ;;
*) die "usage: teardown.sh [--purge]" ;;
esac

if [ "$(id -u)" = 0 ]; then
  take_lock
  for name in default newest; do
    if engine_gone "$name"; then
      stop_engine "$name" # a killed engine's socket and bridge
    else
      say "stopping the $name engine"
      stop_engine "$name"
    fi
  done
elif [ -d "$RUN" ]; then
  say "not root: an engine that root's setup.sh started is left as it is"
fi

if [ "${1:-}" = --purge ]; then
  say "removing $STATE and $CACHE"
  rm -rf "${STATE:?}" "${CACHE:?}"
elif [ -d "$STATE" ] || [ -d "$CACHE" ]; then
  say "kept for a fast next run: $STATE, $CACHE (teardown.sh --purge removes them)"
fi
