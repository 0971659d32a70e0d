#!/usr/bin/env bash
# Proves the Containerfile without a registry: makes Debian 12 by debootstrap, builds the image of HEAD on it with buildah, then runs the image
# as its pods do (uid 65532, no capabilities, root file system read-only, /tmp and /dev/shm in memory): --help of the programs, a coordinator
# with a rank of its own that answers `generate` on the demo model, then whole renderings of the manifests (rehearse.py).
#
# usage: deploy/container/prove.sh [--keep=DIR]
#   --keep=DIR   work in DIR and leave it there: base image, image store. Used again by the next run.
#
# Needs root, buildah, debootstrap, curl, openssl. The build takes Bazel's disk cache (~/.cache/quire/bazel) from this machine, and adds to it.
set -euo pipefail
shopt -s inherit_errexit

readonly RELEASE=bookworm
readonly IMAGE=localhost/quire:proof
readonly RENDERINGS=(cpu-local gpu-single gpu-tp-lws "base, tls" "gpu-single, all" "gpu-tp-lws, all")
readonly BUILD_HOME=/root  # of the build stage's user
KEEP=
WORK=
TOP=$(git -C "$(dirname "$(realpath "$0")")" rev-parse --show-toplevel)
readonly TOP

die() {
  echo "prove: $*" >&2
  exit 1
}

# Its own store: this machine's images are not touched. Without user namespaces only the chroot isolation works everywhere.
bud() { buildah --root "$WORK/store" --runroot "$WORK/run" "$@"; }

# Debian 12 under the names that the Containerfile asks for; apt as it is on this machine: sources and keys.
make_base() {
  if bud inspect --type image localhost/debian:12-slim >/dev/null 2>&1; then
    echo "base: reused"
    return
  fi
  local root=$WORK/debian uri container
  # shellcheck disable=SC2016  # apt's own placeholders
  uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$RELEASE" '$1 == release && $2 == "main" {print $3; exit}')
  [[ -n $uri ]] || die "this machine's apt has no source for $RELEASE main"
  debootstrap --variant=minbase "$RELEASE" "$root" "$uri" >"$WORK/debootstrap.log" 2>&1 || { tail "$WORK/debootstrap.log" >&2; die "debootstrap"; }
  rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
  cp -a /etc/apt/sources.list.d "$root/etc/apt/"
  [[ ! -e /etc/apt/sources.list ]] || cp -a /etc/apt/sources.list "$root/etc/apt/"
  cp -an /usr/share/keyrings/. "$root/usr/share/keyrings/"
  apt-config dump Acquire >"$root/etc/apt/apt.conf.d/90host"
  container=$(bud from scratch)
  bud add --quiet "$container" "$root" / >/dev/null
  bud config --cmd /bin/bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  bud commit --quiet "$container" localhost/debian:12 >/dev/null
  bud rm "$container" >/dev/null
  bud tag localhost/debian:12 localhost/debian:12-slim
  rm -rf "$root"
}

build_image() {
  local context=$WORK/context
  rm -rf "$context"
  mkdir "$context"
  git -C "$TOP" archive HEAD | tar -x -C "$context"
  mkdir -p ~/.cache/quire/bazel
  bud build --isolation chroot --pull-never --layers=false --volume ~/.cache/quire/bazel:"$BUILD_HOME/.cache/quire/bazel" \
    --file "$context/deploy/container/Containerfile" --tag "$IMAGE" "$context" </dev/null
  rm -rf "$context"
}

# Runs in its own mount, process and network namespace; $1 is the mounted image.
run_as_pod() {
  local root=$1
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --bind /dev "$root/dev"
  mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
  mount -t tmpfs -o mode=1777,size=256m tmpfs "$root/dev/shm"
  mkdir -p "$root/models/model"
  mount --bind "$TOP/models/demo" "$root/models/model"
  mount -o remount,bind,ro "$root/models/model"
  mount -o remount,bind,ro "$root"
  ip link set lo up
  # shellcheck disable=SC2016  # for the shell inside
  chroot --userspec=65532:65532 --groups= "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin \
    setpriv --bounding-set=-all --inh-caps=-all --no-new-privs /bin/sh -euc '
      echo "uid $(id -u), $(grep CapEff /proc/self/status | tr -s "[:space:]" " ")"
      ! touch /here 2>/dev/null || { echo "the root file system is writable"; exit 1; }
      for program in coordinator worker generate; do
        "$program" --help >/tmp/help || true
        grep -q "Flags from" /tmp/help
        echo "$program --help: $(grep -c "^    --" /tmp/help) flags"
      done
      quire-verify-model /models/model
      coordinator --model=/models/model --workers=local:1 --grpc_port=50051 --kv_cache_memory_bytes=67108864 --port_file=/tmp/port 2>/tmp/log &
      coordinator=$!
      for _ in $(seq 600); do [ ! -s /tmp/port ] || break; sleep 0.1; done
      [ -s /tmp/port ] || { cat /tmp/log; exit 1; }
      generate --server=127.0.0.1:$(cat /tmp/port) --max_tokens=24 --temperature=0 "Once upon a time"
      echo
      kill $coordinator
      wait $coordinator
      echo "ended cleanly after SIGTERM"'
}

prove() {
  local container root
  container=$(bud from --pull-never "$IMAGE")
  root=$(bud mount "$container")
  echo "=== $(bud inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.ExposedPorts}}' "$IMAGE"), $(du -sh "$root" | cut -f1)"
  mkdir -p "$root/models/model"
  local code=0
  local -a apart=(unshare --mount --pid --fork --net --kill-child --mount-proc)
  QUIRE_PROVE_ROOT=$root "${apart[@]}" "$(realpath "$0")" &&
    "${apart[@]}" python3 -B "$TOP/deploy/container/rehearse.py" "$root" "${RENDERINGS[@]}" || code=$?
  bud umount "$container" >/dev/null
  bud rm "$container" >/dev/null
  return "$code"
}

main() {
  local arg
  for arg in "$@"; do
    case $arg in
      --keep=?*) KEEP=1 WORK=${arg#*=} ;;
      -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      *) die "unknown option $arg (see --help)" ;;
    esac
  done
  if [[ ${QUIRE_PROVE_ROOT:-} ]]; then
    run_as_pod "$QUIRE_PROVE_ROOT"
    return
  fi
  ((EUID == 0)) || die "needs root"
  local program
  for program in buildah debootstrap curl openssl; do
    command -v "$program" >/dev/null || die "needs $program: apt-get install -y $program"
  done
  if [[ $WORK ]]; then mkdir -p "$WORK"; else WORK=$(mktemp -d -t quire_prove.XXXXXXXX); fi
  WORK=$(realpath "$WORK")
  [[ $KEEP ]] || trap 'bud rm --all >/dev/null 2>&1 || true; rm -rf "$WORK"' EXIT
  echo "commit $(git -C "$TOP" rev-parse --short HEAD)"
  make_base
  build_image
  prove
  echo "prove: the image builds and runs"
}

main "$@"
