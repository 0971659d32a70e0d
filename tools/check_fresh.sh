#!/usr/bin/env bash
# Proves that a stranger's bare Debian 12 is enough: makes a minimal chroot, clones HEAD into it, runs tools/demo.sh and tools/test.sh
# there, prints how long each part took. Uses this machine's own apt sources. What is not committed is not tested.
#
# usage: tools/check_fresh.sh [options]
#   --only=PART    demo, test or install (repeatable; default: demo, then test)
#   --reuse=DIR    keep the chroot in DIR and use what an earlier run left there (packages and Bazel's caches, never the clone)
#   --keep         do not remove the chroot afterwards; its path is printed
#   --test_args=S  arguments for tools/test.sh, for example --test_args=--quick
#
# Needs root and debootstrap. Everything runs in its own mount and process namespace: when it ends, or is killed, its mounts and
# processes (Bazel's server too) are gone with it, and no mount of this machine was ever touched.
set -euo pipefail

ONLY=()
REUSE=
KEEP=
TEST_ARGS=
RELEASE=bookworm

die() {
  echo "check_fresh: $*" >&2
  exit 1
}

parse() {
  local arg
  for arg in "$@"; do
    case $arg in
      --only=demo | --only=test | --only=install) ONLY+=("${arg#*=}") ;;
      --reuse=?*) REUSE=${arg#*=} KEEP=1 ;;
      --keep) KEEP=1 ;;
      --test_args=*) TEST_ARGS=${arg#*=} ;;
      -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      *) die "unknown option $arg (see --help)" ;;
    esac
  done
  ((${#ONLY[@]})) || ONLY=(demo test)
}

# The archive that this machine itself installs from.
archive_uri() {
  # shellcheck disable=SC2016  # apt's own placeholders
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$RELEASE" '$1 == release && $2 == "main" {print $3; exit}'
}

make_chroot() {
  local root=$1 uri
  if [[ -e $root/.quire_chroot_ready ]]; then
    echo "chroot: reused"
    return
  fi
  uri=$(archive_uri)
  [[ -n $uri ]] || die "this machine's apt has no source for $RELEASE main"
  debootstrap --variant=minbase "$RELEASE" "$root" "$uri" >"$root/debootstrap.out" 2>&1 ||
    { tail -n 20 "$root/debootstrap.out" >&2; die "debootstrap failed"; }
  # apt as it is here: sources and keys as files, settings only where they concern fetching (hooks name programs that are not there).
  rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
  cp -a /etc/apt/sources.list.d "$root/etc/apt/"
  [[ ! -e /etc/apt/sources.list ]] || cp -a /etc/apt/sources.list "$root/etc/apt/"
  cp -a /etc/apt/trusted.gpg.d /etc/apt/keyrings "$root/etc/apt/" 2>/dev/null || true
  cp -an /usr/share/keyrings/. "$root/usr/share/keyrings/"
  apt-config dump Acquire >"$root/etc/apt/apt.conf.d/90host"
  rm -f "$root"/var/lib/apt/lists/*_*
  # pip as it is here, too: its settings, and the certificates that this machine trusts besides Debian's.
  cp -a /usr/local/share/ca-certificates "$root/usr/local/share/"
  [[ ! -e /etc/pip.conf ]] || cp -a /etc/pip.conf "$root/etc/"
  touch "$root/.quire_chroot_ready"
}

# Runs in the new namespaces only: nothing here outlives them.
mount_all() {
  local root=$1
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount --rbind /sys "$root/sys"
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  cp -L /etc/hosts "$root/etc/hosts"
}

inside() {
  local root=$1
  shift
  chroot "$root" /usr/bin/env -i HOME=/root USER=root LANG=C.UTF-8 CI=true TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} \
    "$@" </dev/null
}

# Runs one part, remembers its seconds and its exit code.
timed() {
  local name=$1 start=$SECONDS code=0
  shift
  echo "=== $name"
  "$@" || code=$?
  TIMES+=("$(printf '%-10s %5d s  exit %d' "$name" $((SECONDS - start)) "$code")")
  ((code == 0)) || FAILED=1
  return 0
}

run_parts() {
  local root=$1 top=$2 part
  TIMES=()
  FAILED=
  timed chroot make_chroot "$root"
  [[ -e $root/.quire_chroot_ready ]] || exit 1
  mount_all "$root"
  # git is not in the chroot yet, so the clone is made from here; --no-local copies only what a stranger would get.
  rm -rf "$root/srv/quire" # never the last run's files
  git -c safe.directory='*' clone -q --no-local "$top" "$root/srv/quire"
  echo "commit $(git -c safe.directory='*' -C "$root/srv/quire" rev-parse --short HEAD)"
  timed install inside "$root" /srv/quire/tools/install_deps.sh
  for part in "${ONLY[@]}"; do
    # shellcheck disable=SC2086  # TEST_ARGS is a list of words by contract
    case $part in
      demo) timed demo inside "$root" /srv/quire/tools/demo.sh ;;
      test) timed test inside "$root" /srv/quire/tools/test.sh $TEST_ARGS ;;
    esac
    [[ -z $FAILED ]] || break
  done
  echo "=== bare Debian 12, $(nproc) cores"
  printf '%s\n' "${TIMES[@]}"
  [[ -z $FAILED ]] || exit 1
  echo "check_fresh: passed (${ONLY[*]})"
}

main() {
  parse "$@"
  if [[ ${QUIRE_CHECK_FRESH_ROOT:-} ]]; then
    run_parts "$QUIRE_CHECK_FRESH_ROOT" "$(git -c safe.directory='*' -C "$(dirname "$0")" rev-parse --show-toplevel)"
    return
  fi
  ((EUID == 0)) || die "needs root (chroot, mount): run it as root"
  command -v debootstrap >/dev/null || die "needs debootstrap: apt-get install -y debootstrap"
  local root
  if [[ $REUSE ]]; then
    mkdir -p "$REUSE"
    root=$(realpath "$REUSE")
  else
    root=$(mktemp -d -t quire_fresh.XXXXXXXX)
  fi
  local code=0
  # SIGINT and SIGTERM reach us; --kill-child takes the namespace down with us, then the trap removes the files.
  # shellcheck disable=SC2064
  [[ $KEEP ]] || trap "rm -rf --one-file-system '$root'" EXIT
  trap 'exit 130' INT TERM
  QUIRE_CHECK_FRESH_ROOT=$root unshare --mount --pid --fork --kill-child --propagation private -- "$BASH" "$0" "$@" || code=$?
  [[ ! $KEEP ]] || echo "chroot kept: $root"
  return "$code"
}

main "$@"
