#!/usr/bin/env bash
# Sets up what is missing, then runs every check that this machine can run. The last line is `N passed, N failed[, N skipped]`; the exit
# code is not 0 if anything failed or did not build.
#
# usage: tools/test.sh [--quick] [--asan] [--dry_run]
#   --quick    leave out tests that are large or tagged `slow`
#   --asan     also run the parsers' tests (text, loader, validation) under AddressSanitizer and UBSan: builds them once more
#   --dry_run  print the Bazel commands, run only the checks that need no build
#
# Environment: QUIRE_JOBS overrides the number of parallel build actions (default: by cores and free memory).
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

QUICK=
ASAN=
DRY_RUN=
PASSED=0
FAILED=0
SKIPPED=0
readonly QUICK_FILTERS=(--build_tests_only --test_tag_filters=-slow "--test_size_filters=small,medium")
readonly GIB_PER_JOB=2  # a compiler on a gRPC or Highway source takes 0.5 to 1.5 GiB

# What reads bytes from outside: client messages, model directories.
readonly ASAN_TARGETS=(
  //tests/fuzz/... //coordinator/text/... //worker/loader/... //worker/model:hf_config_test //worker/model:load_model_test
  //coordinator/frontend:validate_test //coordinator/frontend:parse_request_test //coordinator/frontend:generation_config_test
)

parse() {
  local arg
  for arg in "$@"; do
    case $arg in
      --quick) QUICK=1 ;;
      --asan) ASAN=1 ;;
      --dry_run) DRY_RUN=1 ;;
      -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      *) echo "test: unknown option $arg (see --help)" >&2; exit 2 ;;
    esac
  done
}

jobs() {
  local by_memory n
  n=$(nproc)
  by_memory=$(awk -v per="$GIB_PER_JOB" '/^MemAvailable/ {print int($2 / 1048576 / per)}' /proc/meminfo)
  ((by_memory >= n)) || n=$by_memory
  ((n >= 1)) || n=1
  echo "${QUIRE_JOBS:-$n}"
}

# note NAME passed|failed|skipped [WHY]
note() {
  case $2 in
    passed) PASSED=$((PASSED + 1)) ;;
    failed) FAILED=$((FAILED + 1)) ;;
    skipped) SKIPPED=$((SKIPPED + 1)) ;;
  esac
  echo "$2: $1${3:+ ($3)}"
}

check_shell() {
  local script bad=
  while read -r script; do
    head -n 1 "$script" | grep -q 'bash' || continue
    bash -n "$script" || bad=1
  done < <(find tools tests deploy .ci -type f \( -name '*.sh' -o -path '.ci/*' \) | sort)
  if [[ $bad ]]; then note "shell syntax" failed; else note "shell syntax" passed; fi
}

# Rendered manifests against the schemas of Kubernetes and of the custom kinds; what needs no schema is in //tests/deploy.
check_manifests() {
  local code=0
  tests/deploy/validate.sh || code=$?
  if ((code == 0)); then
    note "manifests are valid" passed
    if tests/deploy/validate.sh --self_test; then note "bad manifests are found" passed; else note "bad manifests are found" failed; fi
  elif ((code == 3)); then
    note "manifests are valid" skipped "pip could not install tests/deploy/requirements.txt"
  else
    note "manifests are valid" failed
  fi
}

# Compiling needs no GPU; device tests are tagged `gpu` and `manual` and are run by tools/gpu/check.sh where there is one.
check_cuda() {
  local sources
  local -a device_tests
  sources=$(find kernels -name '*.cu' | wc -l)
  if [[ ! -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]]; then
    note "CUDA: compile $sources sources" skipped "no nvcc"
    return 0
  fi
  mapfile -t device_tests < <(bazel query 'attr(tags, "gpu", //kernels/... + //worker/...)' 2>/dev/null)
  if ((${#device_tests[@]} == 0)); then
    note "CUDA: compile $sources sources" failed "no test is tagged gpu"
  elif bazel_cmd build --config=cuda //kernels/cuda/... //worker //tools/bench:gpu_ops "${device_tests[@]}"; then
    note "CUDA: compile $sources sources" passed
  else
    note "CUDA: compile $sources sources" failed
  fi
}

# The Python client against the programs that were just built, in an environment of its own.
check_python() {
  local counts p f code=0
  if [[ $QUICK || $DRY_RUN ]]; then
    note "Python client" skipped "--quick and --dry_run leave it out"
    return 0
  fi
  counts=$(bazel_cmd build //coordinator //worker //tools:batch >&2 && tools/python/test.sh) || code=$?
  if ((code == 3)); then
    note "Python client" skipped "pip could not install tools/python/requirements-test.txt"
    return 0
  fi
  read -r p _ f _ <<<"$(tail -n 1 <<<"$counts")"
  [[ $p =~ ^[0-9]+$ && $f =~ ^[0-9]+$ ]] || p=0 f=1
  PASSED=$((PASSED + p)) FAILED=$((FAILED + f))
  echo "Python client: $p passed, $f failed"
}

# Public clients against the programs that were just built, in an environment of their own.
check_clients() {
  local counts p f code=0
  if [[ $QUICK || $DRY_RUN ]]; then
    note "public clients" skipped "--quick and --dry_run leave them out"
    return 0
  fi
  counts=$(bazel_cmd build //coordinator //worker //tools:batch >&2 && tests/clients/test.sh) || code=$?
  if ((code == 3)); then
    note "public clients" skipped "pip could not install tests/clients/requirements.txt"
    return 0
  fi
  read -r p _ f _ <<<"$(tail -n 1 <<<"$counts")"
  [[ $p =~ ^[0-9]+$ && $f =~ ^[0-9]+$ ]] || p=0 f=1
  PASSED=$((PASSED + p)) FAILED=$((FAILED + f))
  echo "public clients: $p passed, $f failed"
}

# bazel_cmd COMMAND ARGS...: with this machine's limits; lines, not a moving picture, where nobody watches.
bazel_cmd() {
  local -a flags=(--jobs="$(jobs)")
  [[ -t 1 ]] || flags+=(--curses=no --color=no --show_progress_rate_limit=20)
  if [[ $DRY_RUN ]]; then
    echo "would run: bazel $1 ${flags[*]} ${*:2}"
    return 0
  fi
  bazel "$1" "${flags[@]}" "${@:2}" </dev/null
}

# run_tests NAME ARGS...: runs tests and adds their single cases to the count.
run_tests() {
  local name=$1 events code=0 counts p f s
  shift
  events=$(mktemp)
  bazel_cmd test --keep_going --build_event_json_file="$events" "$@" || code=$?
  if [[ ! $DRY_RUN ]]; then
    # 4: no tests matched. Every other code but 0 and 3 (tests failed) is a build or set-up that did not work.
    counts=$(python3 tools/test_report.py "$events" "$code") || counts="0 1 0"
    read -r p f s <<<"$(tail -n 1 <<<"$counts")"
    sed '$d' <<<"$counts"
    PASSED=$((PASSED + p)) FAILED=$((FAILED + f)) SKIPPED=$((SKIPPED + s))
    echo "$name: $p passed, $f failed, $s skipped"
  fi
  rm -f "$events"
}

finish() {
  # A machine that builds once keeps no build server; a person's next build wants it warm.
  [[ -z ${CI:-} || $DRY_RUN ]] || bazel shutdown >/dev/null 2>&1 || true
  local line="$PASSED passed, $FAILED failed"
  ((SKIPPED == 0)) || line+=", $SKIPPED skipped"
  echo "$line"
  ((FAILED == 0))
}

main() {
  parse "$@"
  if ! tools/install_deps.sh; then
    FAILED=1
    DRY_RUN=1 finish
    return 1
  fi
  check_shell
  check_manifests
  local -a filters=()
  [[ -z $QUICK ]] || filters=("${QUICK_FILTERS[@]}")
  run_tests "bazel tests" "${filters[@]}" //...
  check_cuda
  check_python
  check_clients
  [[ -z $ASAN ]] || run_tests "asan tests" --config=asan "${QUICK_FILTERS[@]}" "${ASAN_TARGETS[@]}"
  finish
}

main "$@"
