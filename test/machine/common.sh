# shellcheck shell=bash disable=SC2034 # the sourcing scripts use the variables
# What setup.sh and teardown.sh share: where our test engines live, how to tell
# their processes from everybody else's, and how to stop them. Sourced by both.

ROOT_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RUN=/run/ropeway-test
if [ "$(id -u)" = 0 ]; then
  STATE=/var/lib/ropeway-test
  CACHE=/var/cache/ropeway-test
  LOCK=$RUN/lock
else
  # Without root only a user's own engine can be used; its cache is the user's.
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ropeway-test
  STATE=$CACHE/state
  LOCK=$CACHE/lock
fi
# (RUN and STATE are not settable on purpose: the socket path has to stay below
# 108 bytes, and teardown.sh must find what any earlier setup.sh started.)

say() { printf 'machine: %s\n' "$*" >&2; }
die() {
  printf 'machine: error: %s\n' "$*" >&2
  exit 1
}

# Two setups at once would start two engines on one data root.
take_lock() {
  mkdir -p "$(dirname "$LOCK")"
  exec 9>"$LOCK"
  flock -w 600 9 || die "another setup or teardown has held $LOCK for 10 minutes"
}

# until_true SECONDS COMMAND...: polls the command; false when the time is over.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# The pids of everything that belongs to one of our engines, also when its
# dockerd was killed: the daemons share a mount namespace that holds a tmpfs
# named after the engine, the containers' processes sit below its cgroup.
# Pidfiles are not trusted: after a kill the number may be somebody else's.
engine_members() {
  local pid
  # Processes that end while grep looks make it complain and fail; not an error.
  for pid in $({
    grep -lsF " - tmpfs ropeway-test-$1 " /proc/[0-9]*/mountinfo || true
    grep -lsE ":/ropeway-test-$1(/|\$)" /proc/[0-9]*/cgroup || true
  } | cut -d/ -f3 | sort -un); do
    # Zombies are over, but an init that does not reap keeps them listed.
    grep -qsE '^State:[[:space:]]+Z' "/proc/$pid/status" || echo "$pid"
  done
}

engine_dockerd() {
  local pid comm
  for pid in $(engine_members "$1"); do
    if read -r comm 2>/dev/null <"/proc/$pid/comm" && [ "$comm" = dockerd ]; then
      echo "$pid"
    fi
  done
}

engine_gone() { [ -z "$(engine_members "$1")" ]; }
# shellcheck disable=SC2317 # called through until_true
dockerd_gone() { [ -z "$(engine_dockerd "$1")" ]; }
# shellcheck disable=SC2317 # called through until_true
kill_members() {
  local pid
  for pid in $(engine_members "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
  engine_gone "$1"
}

engine_answers() {
  timeout 10 docker -H "unix://$RUN/$1.sock" version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Containers, networks and volumes of earlier runs; images stay. Only ever called
# for engines of ours, so everything in it is a test's leftover.
empty_engine() {
  local d=(timeout 60 docker -H "unix://$RUN/$1.sock") ids
  ids=$("${d[@]}" ps -aq) || true
  # shellcheck disable=SC2086 # a list of ids
  [ -z "$ids" ] || "${d[@]}" rm -f $ids >/dev/null || true
  "${d[@]}" network prune -f >/dev/null || true
  ids=$("${d[@]}" volume ls -q) || true
  # shellcheck disable=SC2086
  [ -z "$ids" ] || "${d[@]}" volume rm -f $ids >/dev/null || true
}

# Each engine has networks of its own, so that two can run side by side.
bridge_of() { echo "ropeway-${1:0:3}"; }
subnet_of() { if [ "$1" = default ]; then echo 10.218; else echo 10.219; fi; }

# Stops an engine of ours, or what a killed one left behind. The engine's mounts
# are in its own namespace, so they go away with its last process.
stop_engine() {
  local name=$1 pid bridge
  if ! engine_gone "$name"; then
    # Removing the containers first spares the engine its 10 s grace per container.
    if engine_answers "$name"; then empty_engine "$name"; fi
    for pid in $(engine_dockerd "$name"); do kill -TERM "$pid" 2>/dev/null || true; done
    until_true 30 dockerd_gone "$name" || say "the $name engine ignores SIGTERM; killing it"
    until_true 20 kill_members "$name" ||
      die "processes of the $name engine survive SIGKILL: $(engine_members "$name" | tr '\n' ' ')"
  fi
  rm -rf "${RUN:?}/$name.sock" "$RUN/$name.pid" "$RUN/$name-exec"
  # Its bridges: the default one, and those of networks that a kill left.
  for bridge in $(ip -o -4 addr show 2>/dev/null | awk -v net="$(subnet_of "$name")." 'index($4, net) == 1 { print $2 }'); do
    ip link delete "$bridge" || true
  done
  if command -v iptables >/dev/null; then
    while iptables -D FORWARD -s "$(subnet_of "$name").0.0/16" -d "$(subnet_of "$name").0.0/16" -j ACCEPT 2>/dev/null; do :; done
  fi
  # Empty cgroups of ours; the kernel refuses to remove others.
  find /sys/fs/cgroup -depth -type d -path "*/ropeway-test-$name*" -exec rmdir {} + 2>/dev/null || true
}
