#!/usr/bin/env bash
# Makes a bare Debian machine able to run the tests and the demo, from Debian's
# packages and npm alone. Called as: eval "$(bash test/machine/setup.sh [default|newest])"
# stdout: export lines only. stderr: what is done and why. teardown.sh is the way back.
set -euo pipefail
# shellcheck source=test/machine/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=test/machine/apt.sh
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

# The suites that are known to hold what we need; the names stay when they age.
COMPOSE_SUITE=trixie  # the oldest with compose >= 2.26
NEWEST_SUITE=forky    # engine 28, compose 2.40, nginx 1.30; with the image store of fresh installs
OLD_SUITE=bookworm    # nginx 1.22, and a small root for node
NODE_MAJOR=26
# Part of the cached images' file names: raise it when a recipe below changes.
RECIPE=1

NAME=${1:-default}
case $NAME in
default | newest) SUBNET=$(subnet_of "$NAME") ;;
*) die "usage: setup.sh [default|newest]" ;;
esac

# The caller may have eval'ed an earlier setup; "the user's environment" is
# what was there before that.
caller_host=${DOCKER_HOST:-} caller_config=${DOCKER_CONFIG:-}
case $caller_host in "unix://$RUN/"*) unset DOCKER_HOST ;; esac
case $caller_config in "$STATE/"*) unset DOCKER_CONFIG ;; esac

# --- Debian packages ---------------------------------------------------------

host_codename() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# suite_apt SUITE ARGS...: apt-get for another suite of the mirror this machine
# uses, with own lists and an empty package status, so the system's apt sees nothing.
suite_apt() {
  local suite=$1 dir=$CACHE/apt/$1 uri key
  shift
  if [ ! -e "$dir/ready" ] || [ -n "$(find "$dir/ready" -mmin +1440)" ]; then
    apt_lists
    # Asking apt itself covers both source formats and every file they may be in.
    # shellcheck disable=SC2016 # apt's own $(...) fields
    uri=$(apt-get indextargets --format '$(ORIGIN)/$(LABEL)/$(COMPONENT)/$(CODENAME)|$(REPO_URI)' |
      sed -n "s#^Debian/Debian/main/$(host_codename)|##p" | sed -n 1p)
    [ -n "$uri" ] ||
      die "apt's configuration names no Debian mirror (main of $(host_codename)); add one and run apt-get update"
    # apt does not tell the keyring of a source.
    key=$({ grep -rlsF "${uri%/}" /etc/apt/sources.list /etc/apt/sources.list.d || true; } |
      xargs -r sed -nE 's#.*[Ss]igned-[Bb]y[:=] *(/[^] ]+).*#\1#p' | sed -n 1p)
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    : >"$dir/status"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$uri" "$suite" \
      "${key:-/usr/share/keyrings/debian-archive-keyring.gpg}" >"$dir/list.sources"
    cat >"$dir/apt.conf" <<CONF
Dir::Etc::SourceList "$dir/list.sources";
Dir::Etc::SourceParts "-";
Dir::Etc::Preferences "-";
Dir::Etc::PreferencesParts "-";
Dir::State::Lists "$dir/lists";
Dir::State::Status "$dir/status";
Dir::Cache "$dir/cache";
Acquire::Check-Valid-Until "false";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Post-Invoke-Success "";
DPkg::Post-Invoke "";
CONF
    say "reading the package list of Debian $suite (for parts this machine's suite has not)"
    APT_CONFIG=$dir/apt.conf timeout 300 apt-get -qq update >"$dir/log" 2>&1 || {
      cat "$dir/log" >&2
      die "the lists of Debian $suite cannot be read"
    }
    touch "$dir/ready"
  fi
  APT_CONFIG=$dir/apt.conf timeout 600 apt-get -q "$@" </dev/null 9>&- >"$dir/log" 2>&1 || {
    tail -n 20 "$dir/log" >&2
    # A mirror drops superseded packages: the next try has to read new lists.
    rm -f "$dir/ready"
    die "apt-get $* failed for Debian $suite; run me again for fresh package lists"
  }
}

# unpack SUITE DIR PACKAGE...: a tree with these packages and what they depend
# on, unpacked but not configured: no maintainer script runs, no chroot needed.
unpack() {
  local suite=$1 dir=$2 d deb
  shift 2
  rm -rf "$CACHE/apt/$suite/cache/archives"
  suite_apt "$suite" update # cheap (nothing new), and creates the archives directory
  mkdir -p "$CACHE/apt/$suite/cache/archives/partial"
  suite_apt "$suite" install -y --download-only "$@"
  for d in bin sbin lib lib64; do
    mkdir -p "$dir/usr/$d"
    ln -s "usr/$d" "$dir/$d"
  done
  for deb in "$CACHE/apt/$suite/cache/archives/"*.deb; do
    dpkg-deb --fsys-tarfile "$deb" |
      tar -x -C "$dir" --keep-directory-symlink --no-same-owner --exclude='./usr/share/doc/*' \
        --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*' \
        --exclude='./usr/share/lintian/*' --exclude='./usr/share/bash-completion/*'
  done
  rm -rf "$CACHE/apt/$suite/cache/archives"
}

# --- npm ---------------------------------------------------------------------

npm_dependencies() {
  local lock=$ROOT_DIR/package-lock.json have=$ROOT_DIR/node_modules/.package-lock.json
  [ -e "$lock" ] || return 0
  if [ ! -e "$have" ] || [ "$lock" -nt "$have" ]; then
    say "running npm ci (node_modules is missing or older than package-lock.json)"
    (cd "$ROOT_DIR" && timeout 600 npm ci --no-audit --no-fund 9>&- >&2) || die "npm ci failed; see above"
    touch "$have"
  fi
}

# --- engine and compose ------------------------------------------------------

compose_ok() {
  local v
  v=$(docker compose version --short 2>/dev/null) || return 1
  v=${v#v}
  [ "$(printf '%s\n2.26\n' "$v" | sort -V | head -n 1)" = 2.26 ]
}

# A DOCKER_CONFIG of our own, so that nothing is added to the user's.
own_config() {
  export DOCKER_CONFIG=$STATE/$NAME-config
  mkdir -p "$DOCKER_CONFIG/cli-plugins"
  [ -e "$DOCKER_CONFIG/config.json" ] || echo '{}' >"$DOCKER_CONFIG/config.json"
}
compose_plugin() { # SOURCE-BINARY
  cp "$1" "$DOCKER_CONFIG/cli-plugins/.new"
  chmod 755 "$DOCKER_CONFIG/cli-plugins/.new"
  mv "$DOCKER_CONFIG/cli-plugins/.new" "$DOCKER_CONFIG/cli-plugins/docker-compose"
}

default_compose() {
  if compose_ok; then return; fi
  say "taking docker-compose of Debian $COMPOSE_SUITE (no compose >= 2.26 here; its binary is static)"
  local tmp
  tmp=$(mktemp -d "$CACHE/compose.XXXXXX")
  suite_apt "$COMPOSE_SUITE" update
  (cd "$tmp" && suite_apt "$COMPOSE_SUITE" download docker-compose && dpkg-deb -x ./*.deb x)
  compose_plugin "$tmp/x/usr/libexec/docker/cli-plugins/docker-compose"
  rm -rf "$tmp"
  compose_ok || die "the docker-compose of Debian $COMPOSE_SUITE does not run here"
}

# By its pid: until the marks are set, engine_members does not see it.
engine_dead_or_answers() { engine_answers "$NAME" || ! kill -0 "$1" 2>/dev/null; }

# start_engine [USR]: our dockerd, away from any other engine's data, socket,
# containerd, networks and firewall rules. USR is laid over /usr for it.
start_engine() {
  local usr=${1:-} log=$STATE/$NAME.log bridge
  # What an abruptly ended run left: processes, socket, pidfile, bridge.
  stop_engine "$NAME"
  mkdir -p "$RUN" "$STATE/$NAME-data" /run/containerd
  # Docker 29 has the containerd image store where nobody has images yet: the newest engine has it too.
  if [ "$NAME" = newest ]; then
    echo '{"features":{"containerd-snapshotter":true}}'
  else
    echo '{}'
  fi >"$RUN/$NAME.json"
  bridge=$(bridge_of "$NAME")
  ip link add name "$bridge" type bridge
  ip addr add "$SUBNET.0.1/24" dev "$bridge"
  ip link set "$bridge" up
  # A user's engine sets this policy, and it meets bridged packets too.
  if command -v iptables >/dev/null && [[ $(iptables -S FORWARD 2>/dev/null) == '-P FORWARD DROP'* ]]; then
    say "letting $SUBNET.0.0/16 pass the firewall's FORWARD chain (its policy is DROP; teardown.sh undoes this)"
    iptables -I FORWARD -s "$SUBNET.0.0/16" -d "$SUBNET.0.0/16" -j ACCEPT
  fi
  say "starting the $NAME engine (log: $log)"
  # Own mount namespace: no mount outlives it. In it, the tmpfs hides a system
  # containerd, which dockerd would use otherwise, and marks our processes.
  # Without iptables rules our engines can run beside each other and beside a
  # user's (a starting engine flushes the others' chains); dockerd's port proxy serves
  # the published ports.
  # shellcheck disable=SC2016 # the inner shell expands
  setsid unshare --mount --propagation slave bash -c '
    set -e
    mark=$1 usr=$2
    shift 2
    mount -t tmpfs "$mark" /run/containerd
    if [ -n "$usr" ]; then
      PATH=/usr/sbin:/usr/bin:/sbin:/bin
      mount --bind "$usr" /usr
      hash -r
    fi
    exec dockerd "$@"
  ' start-engine "ropeway-test-$NAME" "$usr" \
    --config-file="$RUN/$NAME.json" \
    --data-root="$STATE/$NAME-data" --exec-root="$RUN/$NAME-exec" \
    --pidfile="$RUN/$NAME.pid" --host="unix://$RUN/$NAME.sock" --group="$(id -gn)" \
    --bridge="$bridge" --default-address-pool="base=$SUBNET.128.0/17,size=24" \
    --iptables=false --ip6tables=false \
    --exec-opt=native.cgroupdriver=cgroupfs --cgroup-parent="/ropeway-test-$NAME" \
    </dev/null >"$log" 2>&1 9>&- &
  # setsid and all that follow exec: the pid becomes dockerd's own.
  until_true 60 engine_dead_or_answers "$!" || true
  if ! engine_answers "$NAME"; then
    tail -n 20 "$log" >&2
    stop_engine "$NAME"
    die "the $NAME engine did not answer within 60 s; the end of its log $log is above"
  fi
  empty_engine "$NAME"
}

default_engine() {
  local packages=()
  if command -v docker >/dev/null && timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
    if ! compose_ok; then
      # Another DOCKER_CONFIG would lose the user's chosen context: name its engine.
      DOCKER_HOST=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}
      export DOCKER_HOST
      own_config
      default_compose
    fi
    return
  fi
  [ -z "${DOCKER_HOST:-}" ] ||
    die "the engine at DOCKER_HOST=$DOCKER_HOST does not answer; start it, or unset DOCKER_HOST for an engine of our own"
  need_root "no docker engine answers, and starting one" \
    "start your own engine (docker info has to work), or run me as root"
  if ! command -v dockerd >/dev/null; then
    packages+=(docker.io)
    # Newer suites have the client in a package of its own.
    command -v docker >/dev/null || { apt_lists; [ -z "$(apt-cache search -n '^docker-cli$')" ] || packages+=(docker-cli); }
  fi
  # Even without firewall rules: a container's name lookup is set up with it.
  command -v iptables >/dev/null || packages+=(iptables)
  command -v ip >/dev/null || packages+=(iproute2)
  if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "no engine answers" "${packages[@]}"
    case " ${packages[*]} " in *' docker.io '*) not_at_boot docker.service docker.socket containerd.service ;; esac
  fi
  engine_answers default || start_engine
  export DOCKER_HOST=unix://$RUN/default.sock
  own_config
  default_compose
}

newest_engine() {
  local root=$STATE/newest-root packages=()
  need_root "an engine of our own" "run me as root"
  [ -L /bin ] || die "/bin is no link to usr/bin here: the newest engine's /usr cannot be laid over this machine's"
  command -v docker >/dev/null || packages+=(docker.io)
  command -v ip >/dev/null || packages+=(iproute2)
  [ "${#packages[@]}" = 0 ] || apt_install "to talk to the newest engine" "${packages[@]}"
  if [ ! -e "$root/complete" ]; then
    say "unpacking docker.io and docker-compose of Debian $NEWEST_SUITE (the newest engine) in $root"
    stop_engine newest
    rm -rf "$root"
    mkdir -p "$root"
    unpack "$NEWEST_SUITE" "$root" docker.io docker-compose iptables kmod ca-certificates base-files
    # update-alternatives would have made these.
    local t
    for t in iptables ip6tables; do
      [ -e "$root/usr/sbin/$t" ] || ln -sf "$t-nft" "$root/usr/sbin/$t"
    done
    touch "$root/complete"
  fi
  engine_answers newest || start_engine "$root/usr"
  export DOCKER_HOST=unix://$RUN/newest.sock
  own_config
  local plugin=$root/usr/libexec/docker/cli-plugins/docker-compose
  [ "$DOCKER_CONFIG/cli-plugins/docker-compose" -nt "$plugin" ] || compose_plugin "$plugin"
  compose_ok || die "the docker-compose of Debian $NEWEST_SUITE does not run here"
}

# --- images ------------------------------------------------------------------

# What every root of ours gets beside its own packages: a shell and its tools.
BASE=(base-files base-passwd bash dash coreutils findutils grep sed hostname libc-bin)

finish_root() { # DIR USER UID
  local dir=$1
  cp "$dir/usr/share/base-passwd/passwd.master" "$dir/etc/passwd"
  cp "$dir/usr/share/base-passwd/group.master" "$dir/etc/group"
  echo "$2:x:$3:$3:$2:/nonexistent:/bin/false" >>"$dir/etc/passwd"
  echo "$2:x:$3:" >>"$dir/etc/group"
  [ -e "$dir/usr/bin/sh" ] || ln -s dash "$dir/usr/bin/sh"
  printf 'hosts: files dns\n' >"$dir/etc/nsswitch.conf"
  # Pulled in by dependencies of maintainer scripts, which never run here.
  rm -rf "$dir"/usr/lib/*/{perl*,gconv} "$dir"/usr/bin/perl* "$dir"/usr/share/{perl*,zoneinfo,i18n,debconf} \
    "$dir"/usr/lib/{systemd,udev} "$dir"/var/{cache,log}/*
  mkdir -p "$dir"/{proc,sys,dev,run,tmp,root,var/log,var/cache}
  chmod 1777 "$dir/tmp"
}

nginx_root() { # SUITE DIR
  local dir=$2
  unpack "$1" "$dir" nginx "${BASE[@]}"
  finish_root "$dir" nginx 101
  # Laid out like the official image, whose users write their own conf.d.
  rm -rf "$dir/etc/nginx/"{sites-*,modules-*,snippets,conf.d,*.conf} "$dir/var/www"
  mkdir -p "$dir/etc/nginx/conf.d" "$dir/var/log/nginx" "$dir/var/lib/nginx" "$dir/var/cache/nginx"
  ln -s /dev/stdout "$dir/var/log/nginx/access.log"
  ln -s /dev/stderr "$dir/var/log/nginx/error.log"
  cat >"$dir/etc/nginx/nginx.conf" <<'CONF'
user  nginx;
worker_processes  auto;
error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;
events {
    worker_connections  1024;
}
http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;
    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';
    access_log  /var/log/nginx/access.log  main;
    sendfile        on;
    keepalive_timeout  65;
    include /etc/nginx/conf.d/*.conf;
}
CONF
}

node_root() { # DIR
  local dir=$1 node='' f arch
  unpack "$OLD_SUITE" "$dir" libstdc++6 libatomic1 "${BASE[@]}"
  finish_root "$dir" node 1000
  for f in "$ROOT_DIR"/node_modules/node/bin/node "$ROOT_DIR"/node_modules/node-bin-*/bin/node \
    "$ROOT_DIR"/node_modules/node-linux-*/bin/node "$CACHE"/npm/node_modules/node-linux-*/bin/node; do
    if [ -x "$f" ] && [[ $("$f" --version) == "v$NODE_MAJOR."* ]]; then
      node=$f
      break
    fi
  done
  if [ -z "$node" ]; then
    case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) die "no node for $(uname -m)" ;; esac
    say "taking node $NODE_MAJOR from npm (the checkout's node_modules has none)"
    # The platform's own package: unlike npm's "node" it needs no install script.
    timeout 300 npm install --no-audit --no-fund --silent --prefix "$CACHE/npm" \
      "node-linux-$arch@$NODE_MAJOR" 9>&- >&2 || die "npm has no node $NODE_MAJOR for us"
    node=$CACHE/npm/node_modules/node-linux-$arch/bin/node
  fi
  mkdir -p "$dir/usr/local/bin" "$dir/home/node"
  cp "$node" "$dir/usr/local/bin/node"
  # A fifth of the file is symbols nobody looks at here.
  if command -v strip >/dev/null; then strip "$dir/usr/local/bin/node"; fi
}

# pack_root DIR REF CONFIG TAR: an image file for docker load, of one layer.
# Written by hand because engine 20.10's import takes no STOPSIGNAL.
pack_root() {
  local dir=$1 ref=$2 config=$3 tar=$4 out=$1.tar sum arch
  mkdir "$out"
  tar -C "$dir" --numeric-owner --owner=0 --group=0 -cf "$out/layer.tar" .
  sum=$(sha256sum "$out/layer.tar" | cut -d' ' -f1)
  arch=$(dpkg --print-architecture)
  cat >"$out/config.json" <<JSON
{"architecture":"$arch","os":"linux","created":"$(date -u +%FT%TZ)",
"config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],$config},
"rootfs":{"type":"layers","diff_ids":["sha256:$sum"]}}
JSON
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]\n' "$ref" >"$out/manifest.json"
  tar -C "$out" -cf "$tar.new" manifest.json config.json layer.tar
  mv "$tar.new" "$tar"
  rm -rf "$out"
}

load_image() { # REF TAR
  say "loading $1 from $2"
  timeout 300 docker load -q -i "$2" >/dev/null && docker image inspect "$1" >/dev/null 2>&1
}

PULLS=yes
# ensure_image REF: present, else from the cache, pulled, or built.
ensure_image() {
  local ref=$1 tar tmp suite
  tar=$CACHE/images/${1/:/_}.r$RECIPE.tar
  docker image inspect "$ref" >/dev/null 2>&1 && return
  mkdir -p "$CACHE/images"
  if [ -e "$tar" ]; then
    load_image "$ref" "$tar" && return
    say "$tar is damaged; making it again"
    rm -f "$tar"
  fi
  if [ "$PULLS" = yes ]; then
    say "pulling $ref (not in the engine)"
    if timeout 60 docker pull -q "$ref" >/dev/null 2>&1; then
      docker save -o "$tar.new" "$ref" && mv "$tar.new" "$tar"
      return
    fi
    PULLS=no # one refusal is enough: do not wait for the same again
  fi
  tmp=$(mktemp -d "$CACHE/image.XXXXXX")
  chmod 755 "$tmp"
  case $ref in
  nginx:*)
    suite=$NEWEST_SUITE
    [ "$ref" = nginx:1.30 ] || suite=$OLD_SUITE
    say "building $ref from the nginx package of Debian $suite (it cannot be pulled)"
    nginx_root "$suite" "$tmp"
    pack_root "$tmp" "$ref" '"Cmd":["nginx","-g","daemon off;"],"StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{}}' "$tar"
    ;;
  node:*)
    say "building $ref from Debian $OLD_SUITE and npm's node (it cannot be pulled)"
    node_root "$tmp"
    pack_root "$tmp" "$ref" '"Cmd":["node"]' "$tar"
    ;;
  esac
  rm -rf "$tmp"
  load_image "$ref" "$tar" || die "the engine does not take $tar"
}

nginx_version_at_least() { # REF VERSION
  local v
  v=$(timeout 60 docker run --rm --network none "$1" nginx -v 2>&1) || die "$1 does not run: $v"
  v=${v##*nginx/}
  v=${v%% *}
  [ "$(printf '%s\n%s\n' "$v" "$2" | sort -V | head -n 1)" = "$2" ] || die "$1 is nginx $v, need >= $2"
}

images() {
  local had=yes
  docker image inspect nginx:1.30 >/dev/null 2>&1 || had=no
  ensure_image nginx:1.30
  ensure_image nginx:1.22
  ensure_image node:26-slim
  [ "$had" = yes ] || nginx_version_at_least nginx:1.30 1.27.4
}

# --- all together ------------------------------------------------------------

mkdir -p "$CACHE" "$STATE"
take_lock
[ "$(id -u)" != 0 ] || drop_policy # of a run that was killed while installing
rm -rf "$CACHE"/image.??????* "$CACHE"/compose.?????? "$CACHE"/images/*.new

npm_dependencies
case $NAME in
default) default_engine ;;
newest) newest_engine ;;
esac
images
# The tests' own registry; only the binary is used.
if ! command -v docker-registry >/dev/null; then
  apt_install "the tests run a registry of their own" docker-registry
  not_at_boot docker-registry.service
fi

engine=$(docker version --format '{{.Server.Version}}')
compose=$(docker compose version --short)
compose=${compose#v}
# An own engine of the user needs no exports, unless the caller still has ours.
[ -n "${DOCKER_HOST:-}" ] || [ -z "$caller_host" ] ||
  DOCKER_HOST=$(docker context inspect --format '{{.Endpoints.docker.Host}}')
[ -n "${DOCKER_CONFIG:-}" ] || [ -z "$caller_config" ] || DOCKER_CONFIG=$HOME/.docker
[ -z "${DOCKER_HOST:-}" ] || printf 'export DOCKER_HOST=%q\n' "$DOCKER_HOST"
[ -z "${DOCKER_CONFIG:-}" ] || printf 'export DOCKER_CONFIG=%q\n' "$DOCKER_CONFIG"
printf "export ROPEWAY_ENGINE='engine %s, compose %s'\n" "${engine%%+*}" "${compose%%[+-]*}"
