#!/usr/bin/env bash
# An engine of its own for the Swarm contender: swarm mode and firewall rules stay in a network namespace that nobody else is in.
# swarm.sh start: prints `DOCKER_HOST PID`; a process joins the namespace with `nsenter -t PID -n`. swarm.sh stop: ends it, leaves nothing.
set -euo pipefail
# shellcheck source=test/machine/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../machine/common.sh"

NAME=bench
HOST=unix://$RUN/$NAME.sock
DATA=$STATE/$NAME-data
IMAGES=(nginx:1.30 ropeway-test-app:v1)

# Nothing of it is in the machine's own namespace, so stop_engine must find no bridge there.
subnet_of() { echo 10.220; }

stop() {
  stop_engine "$NAME"
  rm -rf "$DATA" "${RUN:?}/$NAME.json" "$STATE/$NAME.log"
}

dead_or_answers() { engine_answers "$NAME" || ! kill -0 "$1" 2>/dev/null; }

start() {
  [ "$(id -u)" = 0 ] || die "an engine of its own for Swarm needs root"
  command -v dockerd >/dev/null || die "there is no dockerd here for an engine of its own"
  stop
  trap '[ "$?" = 0 ] || stop' EXIT
  mkdir -p "$RUN" "$DATA" /run/containerd
  echo '{}' >"$RUN/$NAME.json"
  # As setup.sh starts an engine (the tmpfs hides the system's containerd and marks our processes), plus a network namespace. The
  # address is what swarm advertises; a bridge of nobody has it because swarm refuses loopback's.
  # shellcheck disable=SC2016 # the inner shell expands
  setsid unshare --mount --propagation slave --net bash -c '
    set -e
    mount -t tmpfs "$1" /run/containerd
    shift
    ip link set lo up
    ip link add ropeway-bench type bridge
    ip addr add 10.220.255.1/24 dev ropeway-bench
    ip link set ropeway-bench up
    exec dockerd "$@"
  ' start-engine "ropeway-test-$NAME" \
    --config-file="$RUN/$NAME.json" \
    --data-root="$DATA" --exec-root="$RUN/$NAME-exec" \
    --pidfile="$RUN/$NAME.pid" --host="$HOST" --group="$(id -gn)" \
    --bip=10.220.0.1/24 --default-address-pool=base=10.220.128.0/18,size=24 \
    --exec-opt=native.cgroupdriver=cgroupfs --cgroup-parent="/ropeway-test-$NAME" \
    </dev/null >"$STATE/$NAME.log" 2>&1 &
  # setsid and all that follow exec: it becomes dockerd's own.
  local pid=$!
  until_true 60 dead_or_answers "$pid" || true
  engine_answers "$NAME" || {
    tail -n 20 "$STATE/$NAME.log" >&2
    die "the engine for Swarm did not answer within 60 s"
  }
  docker save "${IMAGES[@]}" | docker -H "$HOST" load -q >/dev/null
  docker -H "$HOST" swarm init --advertise-addr 10.220.255.1 --default-addr-pool 10.220.192.0/18 >/dev/null
  echo "$HOST $pid"
}

case ${1:-} in
start | stop) "$1" ;;
*) die "usage: swarm.sh start|stop" ;;
esac
