#!/usr/bin/env bash
# Everything between a fresh clone and a running l7egg, on a machine that has only Node >= 20, npm and root:
# system packages, npm packages, the addon, the eBPF object, the ABI check, TypeScript. Does only what is not done yet.
#
#   scripts/setup.sh [--build-only | --test | --demo | --bench] [-- COMMAND...]
#
#   (nothing)      what building and `l7egg run` need
#   --build-only   what building needs
#   --test --demo  plus the servers and clients that the tests and the demo run in their network namespaces
#   --bench        plus the yardsticks that the benchmarks compare with
#   -- COMMAND     run COMMAND afterwards, with the sbin folders in PATH (`su` without a dash leaves them out)
#
# Exit codes: 0 done; 1 a step failed (its log is shown); 2 this machine can't do it (one line says why).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# Called from `make -j` or from another npm script, their settings must not leak into our make and npm.
unset MAKEFLAGS MFLAGS MAKELEVEL npm_config_prefix npm_config_local_prefix npm_config_workspace

# What is needed, how to see that it is there (a command, or a file by its absolute path), which Debian package brings it.
build_needs="
  clang           clang
  gcc             gcc
  g++             g++
  make            make
  libc6-dev       /usr/include/stdio.h
  linux-libc-dev  /usr/include/linux/bpf.h
  libbpf-dev      /usr/include/bpf/libbpf.h
  libelf-dev      /usr/include/libelf.h
  zlib1g-dev      /usr/include/zlib.h
"
run_needs="
  iptables        iptables
  iproute2        ip
  ethtool         ethtool
  nftables        nft
"
# dnsmasq-base, not dnsmasq: the program without the service.
test_needs="
  nginx               nginx
  libnginx-mod-stream /usr/lib/nginx/modules/ngx_stream_module.so
  unbound             unbound
  dnsmasq-base        dnsmasq
  bind9-dnsutils      dig
  curl                curl
  openssl             openssl
  iperf3              iperf3
  netcat-openbsd      nc
  openssh-server      /usr/sbin/sshd
  openssh-client      ssh
  socat               socat
  conntrack           conntrack
  iputils-ping        ping
  tcpdump             tcpdump
  git                 git
  procps              sysctl
  bpftool             bpftool
"
# Of the tests, what not every distribution has (Ubuntu 22.04 hasn't got it): those that need it say so and are left out there.
quic_needs="
  ngtcp2-client  gtlsclient
  ngtcp2-server  /usr/sbin/gtlsserver
"
# What npm nfqueue, the yardstick, is built with; bench/ installs it by itself, the first time it is asked for.
bench_needs="
  libnetfilter-queue-dev  /usr/include/libnetfilter_queue/libnetfilter_queue.h
  python3                 python3
"
# The peers and load generators of `npm run bench`: what a distribution doesn't have is left out, and the peer's line in the report says so.
peer_needs="
  squid-openssl   squid
  sniproxy        sniproxy
  haproxy         haproxy
  ipset           ipset
  opensnitch      opensnitchd
  dnsperf         dnsperf
  nghttp2-client  h2load
"
# Services that the packages above bring. What we install is for our own namespaces: it must neither start now nor at the next boot.
services_of() {
  case $1 in
    openssh-server) echo ssh.service ssh.socket ;;
    unbound) echo unbound.service unbound-resolvconf.service ;;
    nginx | iperf3 | haproxy | sniproxy | opensnitch) echo "$1.service" ;;
    squid-openssl) echo squid.service ;;
    ngtcp2-server) echo ngtcp2d.service ;;
  esac
}

policy=/usr/sbin/policy-rc.d
policy_saved=/usr/sbin/policy-rc.d.before-l7egg
work=build/setup
did=0
first=0

main() {
  local mode=run
  case ${1-} in
    --build-only | --test | --demo | --bench) mode=${1#--} && shift ;;
    '' | --) ;;
    *) refuse "unknown argument '$1'; usage: scripts/setup.sh [--build-only | --test | --demo | --bench] [-- COMMAND...]" ;;
  esac
  if [ "${1-}" = -- ]; then shift; elif [ $# -gt 0 ]; then refuse "unexpected argument '$1' (a command comes after --)"; fi

  check_machine "$mode"
  [ -e "$work" ] || first=1
  mkdir -p "$work"
  # Two set-ups at once in one checkout would step on each other's output.
  exec 9>"$work/lock"
  if ! flock -n 9; then say "waiting for another set-up in this folder" && flock 9; fi
  trap 'release_services' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  system_packages "$mode"
  if [ "$mode" = bench ]; then packages_that_are_there yardsticks peers "$peer_needs"; fi
  if [ "$mode" = test ]; then packages_that_are_there "QUIC client and server" quic "$quic_needs"; fi
  # Once more, for the PATH of the command behind --: the look above was in a subshell.
  find_bpftool || true
  npm_packages
  addon
  ebpf
  abi
  typescript
  if [ "$mode" = build-only ] && [ $did = 0 ]; then say "nothing to do"; fi

  if [ $# -gt 0 ]; then
    exec 9>&-
    trap - EXIT INT TERM HUP
    exec "$@"
  fi
}

check_machine() {
  [ "$(uname -s)" = Linux ] || refuse "l7egg runs on Linux only; this is $(uname -s)"
  # Building is for everybody (unless packages are missing); namespaces, eBPF and netfilter are for root.
  [ "$(id -u)" = 0 ] || [ "$1" = build-only ] || refuse "this needs root: run it again with sudo, or as root"
  command -v node >/dev/null || refuse "Node.js >= 20 is needed; there is no 'node' in PATH"
  command -v npm >/dev/null || refuse "npm is needed; there is no 'npm' in PATH"
  local version
  version=$(node -p process.versions.node)
  [ "${version%%.*}" -ge 20 ] || refuse "Node.js >= 20 is needed; this is $version"
}

# --- system packages --------------------------------------------------------------------------------------------------

system_packages() {
  local needs=$build_needs missing
  case $1 in
    run) needs+=$run_needs ;;
    test | demo) needs+=$run_needs$test_needs ;;
    bench) needs+=$run_needs$test_needs$bench_needs ;;
  esac
  missing=$(missing_of "$needs")
  [ -n "$missing" ] || return 0

  if ! command -v apt-get >/dev/null || ! [ -e /etc/debian_version ]; then
    refuse "packages are installed by themselves on Debian and Ubuntu only; please install what these Debian packages hold: $missing"
  fi
  [ "$(id -u)" = 0 ] || refuse "installing packages needs root: $missing"
  step "system packages: $missing" install_packages $missing
  missing=$(missing_of "$needs")
  [ -z "$missing" ] || refuse "installed, but what they should hold is still not there: $missing"
}

# Those that are missing and that this distribution has. Asked once: what it hasn't got today it won't have tomorrow.
packages_that_are_there() {
  local what=$1 noted=$work/$2.missing needs=$3 missing
  missing=$(missing_of "$needs")
  [ -n "$missing" ] && [ "$missing" != "$(cat "$noted" 2>/dev/null)" ] || return 0
  command -v apt-get >/dev/null && [ -e /etc/debian_version ] || return 0
  step "$what, as far as this distribution has them: $missing" install_available $missing
  missing_of "$needs" >"$noted"
}

install_available() {
  local package some=()
  apt-get -q -y -o DPkg::Lock::Timeout=300 update || echo "apt-get update failed; trying with the lists that are there"
  for package in "$@"; do
    # Not through a pipe: grep -q ends at the first hit, and what is cut off then counts as failed.
    if grep -q '^  Candidate: [^(]' <<<"$(LC_ALL=C apt-cache policy "$package")"; then some+=("$package"); fi
  done
  [ ${#some[@]} = 0 ] || install_packages "${some[@]}" || echo "not all of them could be installed"
}

# The packages of a list whose command or file isn't there, on one line.
missing_of() {
  local package probe missing=()
  while read -r package probe; do
    [ -z "$package" ] || have "$probe" || missing+=("$package")
  done <<<"$1"
  # Ubuntu packs bpftool with the kernel's other tools.
  if grep -qs '^ID=ubuntu' /etc/os-release; then missing=("${missing[@]/#bpftool/linux-tools-common linux-tools-generic}"); fi
  echo "${missing[*]-}"
}

# Ubuntu's /usr/sbin/bpftool is a wrapper that wants the tools of the very kernel that runs; those of another kernel serve as well.
find_bpftool() {
  local tool
  ! bpftool version >/dev/null 2>&1 || return 0
  for tool in /usr/lib/linux-tools/*/bpftool; do
    if "$tool" version >/dev/null 2>&1; then PATH=${tool%/*}:$PATH && return 0; fi
  done
  return 1
}

have() {
  case $1 in
    /*) [ -e "$1" ] ;;
    bpftool) find_bpftool ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

install_packages() {
  local -x DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
  # One set-up at a time: it decides for the whole machine which services may start.
  exec 8>/run/lock/l7egg-setup
  flock 8
  hold_services
  local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o APT::Install-Recommends=false)
  # A source that doesn't answer is no reason to stop: what is needed may come from the others.
  "${apt[@]}" update || echo "apt-get update failed; trying with the lists that are there"
  local status=0
  "${apt[@]}" install --no-upgrade "$@" || status=$?
  disable_services "$@"
  release_services
  exec 8>&-
  return $status
}

# Debian starts a service the moment it is installed: nginx would take port 80, unbound port 53 of the user's machine.
# While this policy stands nothing is started, stopped or restarted, services that the user already has included.
hold_services() {
  release_services
  if [ -e "$policy" ]; then mv "$policy" "$policy_saved"; fi
  printf '#!/bin/sh\n# l7egg-setup %s: no services are started while scripts/setup.sh installs packages\nexit 101\n' $$ >"$policy"
  chmod 755 "$policy"
}

# Puts back what was there; also what a set-up that was killed has left. Never the user's own file.
release_services() {
  local holder
  holder=$(sed -n 's/^# l7egg-setup \([0-9]*\):.*/\1/p' "$policy" 2>/dev/null || true)
  if [ -n "$holder" ] && { [ "$holder" = $$ ] || ! kill -0 "$holder" 2>/dev/null; }; then
    rm -f "$policy"
    if [ -e "$policy_saved" ]; then mv "$policy_saved" "$policy"; fi
  fi
}

disable_services() {
  local package service
  for package in "$@"; do
    for service in $(services_of "$package"); do
      if command -v systemctl >/dev/null; then
        systemctl disable "$service" || true
      elif [ -x "/etc/init.d/${service%.service}" ]; then
        update-rc.d "${service%.service}" disable || true
      fi
    done
  done
}

# --- npm, addon, eBPF, TypeScript -------------------------------------------------------------------------------------

# The stamp lies in node_modules, so that it goes when they go.
npm_packages() {
  local now
  now=$(fingerprint package-lock.json)-$(node -p 'process.arch + process.versions.modules')
  [ "$now" != "$(cat node_modules/.l7egg-setup 2>/dev/null)" ] || return 0
  # No dependency of ours needs its install script: esbuild and netlink bring their binaries ready-made.
  step "npm packages" npm ci --ignore-scripts --include=dev --no-audit --no-fund --prefer-offline
  echo "$now" >node_modules/.l7egg-setup
}

addon() {
  if make -q -C native >/dev/null 2>&1 && [ -e build/l7egg.node ]; then return; fi
  step "addon (native/)" make -C native
}

ebpf() {
  if make -q -C bpf >/dev/null 2>&1 && [ -e build/l7egg.bpf.o ]; then return; fi
  step "eBPF object (bpf/)" make -C bpf
}

abi() {
  once abi "ABI: TypeScript agrees with bpf/l7egg_abi.h" bpf/l7egg_abi.h scripts/gen-abi.ts src/core/abi.generated.ts -- \
    node --import tsx scripts/gen-abi.ts --check
}

typescript() {
  [ -e dist/cli/main.js ] || rm -f "$work/typescript.done"
  once typescript "TypeScript" src tsconfig.json node_modules/.l7egg-setup -- compile
}

# The build info lies in dist: tsc would not write again what it believes to be there.
compile() {
  node node_modules/typescript/bin/tsc -p tsconfig.json --incremental --tsBuildInfoFile dist/.tsbuildinfo
  chmod +x dist/cli/*.js
}

# once NAME LABEL FILES... -- COMMAND...: runs COMMAND unless it has succeeded on these very contents.
once() {
  local name=$1 label=$2 inputs=() now
  shift 2
  while [ "$1" != -- ]; do inputs+=("$1") && shift; done
  shift
  now=$(fingerprint "${inputs[@]}")
  [ "$now" != "$(cat "$work/$name.done" 2>/dev/null)" ] || return 0
  step "$label" "$@"
  echo "$now" >"$work/$name.done"
}

# One hash over names and contents of files and folders.
fingerprint() {
  local path
  for path in "$@"; do [ -e "$path" ] || fail "$path is missing: is this a whole checkout?"; done
  find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# --- talking ----------------------------------------------------------------------------------------------------------

# step LABEL COMMAND...: one line; the log only if it fails.
step() {
  local label=$1 log status=0 start=$SECONDS
  shift
  if [ $first$did = 10 ]; then say "the first run installs and builds what is missing; that can take some minutes (logs in $work)"; fi
  did=1
  log=$work/$(tr -c 'a-z0-9\n' - <<<"${label,,}" | cut -c1-40).log
  say "$label"
  # Not `"$@" || status=$?`: that would switch `set -e` off inside the step's own function.
  set +e
  (set -e; "$@") 9>&- >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ $status -ne 0 ]; then
    tail -n 200 "$log" >&2
    fail "$label: failed with exit code $status after $((SECONDS - start)) s (log above, whole in $log)"
  fi
}

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2 && exit 1; }
refuse() { echo "setup: $*" >&2 && exit 2; }

main "$@"
