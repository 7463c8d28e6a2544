#!/usr/bin/env bash
# Prints the path of a Chromium or Chrome: the machine's own, or Debian's package `chromium` (with the libraries it needs, and
# without what it recommends), which it installs where there is none. Called by test/e2e/browser.test.ts.
set -euo pipefail
# shellcheck source=test/machine/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=test/machine/apt.sh
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

installed() {
  local name
  for name in chromium google-chrome google-chrome-stable chromium-browser; do
    command -v "$name" && return
  done
  return 1
}

if ! installed; then
  mkdir -p "$CACHE"
  take_lock
  drop_policy # of a run that was killed while installing
  apt_install "the test of the relay's page needs a browser, and there is none" chromium
  installed || die "Debian's chromium was installed, but there is no command of that name"
fi
