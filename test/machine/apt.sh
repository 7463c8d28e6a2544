# shellcheck shell=bash
# Installing Debian packages on this machine. Sourced, after common.sh, by the scripts that may have to.

need_root() { [ "$(id -u)" = 0 ] || die "$1 needs root; $2"; }

# Lists change under us on a mirror, so they are refreshed once per boot and day.
apt_lists() {
  local stamp=$CACHE/apt-updated boot
  command -v apt-get >/dev/null || die "no apt-get here: a Debian machine is needed for the missing parts"
  boot=$(($(date +%s) - $(cut -d. -f1 /proc/uptime)))
  if [ -e "$stamp" ] && [ "$(stat -c %Y "$stamp")" -ge "$boot" ] &&
    [ -z "$(find "$stamp" -mmin +1440)" ] && compgen -G '/var/lib/apt/lists/*Release' >/dev/null; then
    return
  fi
  if [ "$(id -u)" = 0 ]; then
    say "refreshing apt's package lists (not done yet since boot, or more than a day ago)"
    # Snapshot mirrors serve lists whose validity is over.
    timeout 300 apt-get -q -o Acquire::Check-Valid-Until=false update >&2 ||
      die "apt-get update failed; see above"
    touch "$stamp"
  fi
}

# apt_install WHY PACKAGE...: installs on this machine, but starts nothing.
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# ropeway-test: no service starts while setup.sh installs'
drop_policy() {
  if [ -f "$POLICY" ] && grep -qF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
}
apt_install() {
  local why=$1 log=$CACHE/apt-install.log list
  shift
  list=$(printf ', %s' "$@")
  need_root "installing $* ($why)" "run: sudo apt-get install $*"
  apt_lists
  say "installing ${list:2} ($why)"
  if [ ! -e "$POLICY" ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
    chmod 755 "$POLICY"
    trap drop_policy EXIT
  fi
  if ! DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 timeout 600 \
    apt-get -y -q --no-install-recommends -o Acquire::Check-Valid-Until=false -o DPkg::Lock::Timeout=120 \
    install "$@" </dev/null 9>&- >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get install $* failed; see above and $log"
  fi
  drop_policy
}
# With systemd a freshly installed service would start at the next boot.
not_at_boot() {
  [ -d /run/systemd/system ] || return 0
  systemctl disable --quiet "$@" 2>/dev/null || true
}
