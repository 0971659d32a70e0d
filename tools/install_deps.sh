#!/usr/bin/env bash
# Installs what building and testing Quire needs, from Debian 12's own packages, and fetches one library that is not among them
# (tools/install_xgrammar.sh). Idempotent: when all are there it ends at once and touches no network.
#
# usage: tools/install_deps.sh [--check | --list | --optional]
#   --check     only say what is missing; exit code 1 if anything is
#   --list      print the package names
#   --optional  install also what some tests use where it is there and else skip: promtool and prometheus, Chromium (half a gigabyte)
#
# Needs root, or a sudo that asks no password, only if something is missing. kubectl is optional and not installed: Debian's own is too
# old for deploy/. tests/deploy renders with its own reader, and compares it with kubectl where there is one.
set -euo pipefail

PACKAGES=(
  # compiler and build system; `python` (python-is-python3) is what Bazel 4.2.3 runs py_test with
  g++ git ca-certificates bazel-bootstrap bazel-rules-java bazel-platforms bazel-skylib
  python3 python3-venv python-is-python3 python3-numpy python3-yaml
  # RPC and the base library
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev libgoogle-glog-dev
  # text, JSON, hashing
  libpcre2-dev libutf8proc-dev nlohmann-json3-dev libssl-dev
  # HTTP (Beast), metrics
  libboost1.81-dev prometheus-cpp-dev
  # SIMD dispatch, collectives across hosts
  libhwy-dev libgloo-dev
  # tests and benchmarks
  libgtest-dev libgmock-dev libbenchmark-dev
)
readonly OPTIONAL_PACKAGES=(prometheus chromium)
readonly MAX_ATTEMPTS=3

die() {
  echo "install_deps: $*" >&2
  exit 1
}

# Prints the packages of the list that are not installed.
missing_packages() {
  local package status
  for package in "${PACKAGES[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || echo "$package"
  done
}

# Runs apt-get with bounded waits, quietly unless it fails; $SUDO is empty for root.
apt_get() {
  local log code=0
  log=$(mktemp)
  ${SUDO:+$SUDO} env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=2 -o DPkg::Lock::Timeout=120 "$@" \
    </dev/null >"$log" 2>&1 || code=$?
  ((code == 0)) || tail -n 20 "$log" >&2
  rm -f "$log"
  return "$code"
}

# What Debian has no package of. Without it everything builds and works but constrained output.
fetch_sources() {
  "$(dirname "$(realpath "$0")")/install_xgrammar.sh" || true
}

main() {
  case ${1:-} in
    "" | --check) ;;
    --optional) PACKAGES+=("${OPTIONAL_PACKAGES[@]}") ;;
    --list) printf '%s\n' "${PACKAGES[@]}"; return 0 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; return 0 ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  command -v dpkg-query >/dev/null || die "this script knows Debian 12's packages only; elsewhere use deploy/container/Containerfile"

  local -a missing
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    if [[ ${1:-} == --check ]]; then echo "all ${#PACKAGES[@]} packages are installed"; else fetch_sources; fi
    return 0
  fi
  if [[ ${1:-} == --check ]]; then
    printf 'missing: %s\n' "${missing[*]}"
    return 1
  fi

  SUDO=
  if ((EUID != 0)); then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      SUDO=sudo
    else
      die "${#missing[@]} packages are missing and installing them needs root. Run this once as root, then try again:
  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
  fi
  # shellcheck source=/dev/null
  [[ $(. /etc/os-release && echo "${VERSION_CODENAME:-}") == bookworm ]] ||
    echo "install_deps: made for Debian 12 (bookworm); going on, but versions may not fit" >&2

  echo "installing ${#missing[@]} packages: ${missing[*]}"
  local attempt
  for ((attempt = 1; attempt <= MAX_ATTEMPTS; attempt++)); do
    # The first attempt trusts package lists that are already there; an update costs more than most installs.
    if ((attempt > 1)) || ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
      apt_get update || echo "install_deps: apt-get update failed (attempt $attempt of $MAX_ATTEMPTS)" >&2
    fi
    if apt_get install -y --no-install-recommends "${missing[@]}"; then
      mapfile -t missing < <(missing_packages)
      ((${#missing[@]} == 0)) || die "apt-get succeeded but these are still missing: ${missing[*]}"
      fetch_sources
      return 0
    fi
    echo "install_deps: apt-get install failed (attempt $attempt of $MAX_ATTEMPTS)" >&2
  done
  die "could not install: ${missing[*]}. Check the network and /etc/apt, then try again."
}

main "$@"
