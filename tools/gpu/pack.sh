#!/usr/bin/env bash
# Makes one folder with all that a machine with a GPU needs to check Quire's CUDA backend: programs, the shared libraries that they load but
# for the driver's and CUDA's, golden models, tools/gpu/check.sh. No compiler, no network and no package is needed there.
#
# usage: tools/gpu/pack.sh [--no_build] [OUT]
#   --no_build  take what is built already
#   OUT         the folder, made anew (default: gpu_pack, which git ignores)
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."

readonly LIMIT_MIB=64
readonly TARGETS=(
  //coordinator //worker //tools:generate //tools/bench:gpu_ops
  //kernels/cuda:conformance_gpu_test //worker/model:device_golden_gpu_test
)
# Of the target machine: the driver, CUDA, and the C library with its loader.
readonly NOT_PACKED='linux-vdso|libcuda\.|libnvidia|libcublas|libcudart|libnccl|ld-linux|/lib(c|m|dl|rt|pthread|resolv)\.so'

die() {
  echo "pack: $*" >&2
  exit 1
}

# The file that Bazel made of //some/package:name.
output_of() {
  local label=${1#//}
  local package=${label%%:*} name=${label##*:}
  [[ $label == *:* ]] || name=${package##*/}
  echo "${QUIRE_BIN:-bazel-bin}/$package/$name"
}

pack_programs() {
  local out=$1 target file
  mkdir -p "$out/bin" "$out/lib"
  for target in "${TARGETS[@]}"; do
    file=$(output_of "$target")
    [[ -x $file ]] || die "$file is not there: build $target, where the CUDA toolkit is installed"
    strip --strip-unneeded -o "$out/bin/$(basename "$file")" "$file"
  done
  # The coordinator finds its workers by this name.
  mv "$out/bin/worker" "$out/bin/quire-worker"
}

pack_libraries() {
  local out=$1 library
  ldd "$out"/bin/* | awk '/=> \// {print $3}' | sort -u | grep -Ev "$NOT_PACKED" | while read -r library; do
    cp -L "$library" "$out/lib/"
  done
  strip --strip-unneeded "$out"/lib/* 2>/dev/null || true
}

pack_data() {
  local out=$1
  mkdir -p "$out/tests" "$out/models"
  cp -rL tests/goldens "$out/tests/goldens"
  cp -rL models/demo "$out/models/demo"
  rm -rf "$out/tests/goldens/checkpoints"  # forms of files: nothing of a device
  cp tools/gpu/check.sh "$out/check.sh"
  git rev-parse --short HEAD >"$out/revision" 2>/dev/null || echo unknown >"$out/revision"
}

# Every program finds its libraries in the folder or on any machine, in an environment with nothing in it.
check_libraries() {
  local out=$1 missing
  missing=$(env -i LD_LIBRARY_PATH="$(realpath "$out")/lib" PATH=/usr/bin:/bin bash -c "ldd '$out'/bin/*" | grep 'not found' || true)
  [[ -z $missing ]] || die "libraries are missing: $missing"
  if env -i LD_LIBRARY_PATH="$(realpath "$out")/lib" PATH=/usr/bin:/bin bash -c "ldd '$out'/bin/*" |
    grep '=> /' | grep -v "$(realpath "$out")/lib" | grep -Ev "$NOT_PACKED" | grep .; then
    die "these libraries are outside the folder"
  fi
}

main() {
  local build=1 out=gpu_pack arg size
  for arg in "$@"; do
    case $arg in
      --no_build) build= ;;
      -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      -*) die "unknown option $arg (see --help)" ;;
      *) out=$arg ;;
    esac
  done
  [[ ! -e $out || -e $out/revision ]] || die "$out exists and is no pack"
  if [[ $build ]]; then bazel build --config=cuda "${TARGETS[@]}" </dev/null; fi
  rm -rf "$out"
  pack_programs "$out"
  pack_libraries "$out"
  pack_data "$out"
  check_libraries "$out"
  tar -C "$out" -czf "$out/programs.tar.gz" bin lib  # check.sh unpacks it
  rm -rf "$out/bin" "$out/lib"
  size=$(du -sm "$out" | cut -f1)
  echo "$out: $size MiB, of $(cat "$out/revision")"
  ((size <= LIMIT_MIB)) || die "$out has $size MiB, the limit is $LIMIT_MIB"
}

main "$@"
