#!/usr/bin/env bash
# Runs one fuzz target under libFuzzer with AddressSanitizer and UBSan. Its plain test, which needs no clang, is //tests/fuzz:TARGET_corpus_test.
#
# usage: tools/fuzz.sh TARGET [RUNS]
#        tools/fuzz.sh --list
#        tools/fuzz.sh --replay FILE TARGET
#   RUNS      inputs to try (default 1000000)
#   --replay  one input, for instance what a run found
#
# What it learns is kept in $QUIRE_FUZZ_DIR (default ~/.cache/quire/fuzz) and used by the next run; what it finds is written there too,
# with the command that replays it. A finding: a crash, a sanitizer's report, more than 2 s for an input, an allocation over 512 MB, more than 2 GB.
# Environment: QUIRE_FUZZ_SEED (default 1), BAZEL (default bazel).
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

readonly BAZEL=${BAZEL:-bazel}
readonly DIR=${QUIRE_FUZZ_DIR:-$HOME/.cache/quire/fuzz}
# Limits of one input. The sanitizer's own table of freed memory must not count as the parser's.
readonly LIMITS=(-timeout=2 -report_slow_units=1 -malloc_limit_mb=512 -rss_limit_mb=2048 -max_len=16384)
export ASAN_OPTIONS=quarantine_size_mb=8:allocator_release_to_os_interval_ms=500
export GLOG_minloglevel=2  # a warning about a file is no finding; a fatal message still shows

die() {
  echo "fuzz: $*" >&2
  exit 2
}

list_targets() {
  sed -n 's/^ *name = "\(.*\)",$/\1/p' <(grep -A1 '^fuzz_target($' tests/fuzz/BUILD.bazel)
}

build() {
  command -v clang >/dev/null && [[ -e $(clang -print-file-name=libclang_rt.fuzzer-x86_64.a) ]] ||
    die "clang with libFuzzer is missing: apt-get install -y --no-install-recommends clang libclang-rt-14-dev"
  "$BAZEL" build --config=fuzz "//tests/fuzz:$1_fuzz" >&2
  BINARY=$("$BAZEL" info --config=fuzz bazel-bin 2>/dev/null)/tests/fuzz/$1_fuzz
}

main() {
  local replay=
  case ${1:-} in
    -h | --help | "") sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; return 0 ;;
    --list) list_targets; return 0 ;;
    --replay) replay=$(realpath "$2"); shift 2 ;;
  esac
  local target=${1:?which target} runs=${2:-1000000} dictionary
  list_targets | grep -qx "$target" || die "no target $target; there are: $(list_targets | tr '\n' ' ')"
  build "$target"
  if [[ $replay ]]; then
    exec "$BINARY" "${LIMITS[@]}" "$replay"
  fi
  dictionary=tests/fuzz/$(grep -A2 "name = \"$target\"" tests/fuzz/BUILD.bazel | sed -n 's/.*dictionary = "\(.*\)",/\1/p')
  mkdir -p "$DIR/$target" "$DIR/findings"
  nice -n 19 "$BINARY" "${LIMITS[@]}" -runs="$runs" -seed="${QUIRE_FUZZ_SEED:-1}" -dict="$dictionary" -use_value_profile=0 \
    -artifact_prefix="$DIR/findings/$target-" -print_final_stats=1 "$DIR/$target" "tests/fuzz/corpus/$target"
}

main "$@"
