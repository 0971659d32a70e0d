#!/usr/bin/env bash
# Checks Quire's CUDA backend on this machine's GPU: conformance, goldens, end to end, two ranks by NCCL on one card, compute-sanitizer
# where there is one, benchmarks. Prints one table; the exit code is not 0 if anything failed, 2 if there is no GPU to check on. Runs in a
# folder that tools/gpu/pack.sh made.
#
# usage: check.sh [--quick] [--logs=DIR]
#   --quick     conformance and goldens only
#   --logs=DIR  where each check's output goes (default: logs beside this script)
set -uo pipefail
cd "$(dirname "$(realpath "$0")")" || exit 1

QUICK=
LOGS=logs
FAILED=0
ROWS=()
COORDINATOR=
WORKERS=()
PORT=
ADDRESSES=
readonly READY_SECONDS=60
readonly PROMPT="Once upon a time"

cleanup() {
  local pid
  for pid in $COORDINATOR "${WORKERS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  COORDINATOR= WORKERS=()
}
trap cleanup EXIT

# note NAME passed|FAILED|skipped SECONDS [WHAT]
note() {
  ROWS+=("$(printf '%-34s %-8s %7s  %s' "$1" "$2" "$3" "${4:-}")")
  echo "${ROWS[-1]}"
  [[ $2 != FAILED ]] || FAILED=$((FAILED + 1))
}

# timed NAME COMMAND...: one row by the command's exit code; what it prints goes to a log.
timed() {
  local name=$1 log code=0 start=$SECONDS what
  shift
  log="$LOGS/${name//[ \/]/_}.log"
  "$@" >"$log" 2>&1 || code=$?
  what=$(grep -E '^\[  (PASSED|FAILED)  \] [0-9]+ test' "$log" | head -n 1 | sed 's/^\[ *[A-Z]* *\] //')
  if ((code == 0)); then
    note "$name" passed "$((SECONDS - start)) s" "$what"
  else
    note "$name" FAILED "$((SECONDS - start)) s" "exit code $code, see $log: $(grep -m 1 -E 'Failure|error|CUDA|Check failed' "$log" | cut -c 1-120)"
  fi
  return "$code"
}

find_gpu() {
  if [[ ! -e /proc/driver/nvidia/version ]] && ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && [[ ! -e /dev/dxg ]]; then
    echo "check: no GPU: there is neither /proc/driver/nvidia nor /dev/nvidia0 on this machine; nothing was checked" >&2
    exit 2
  fi
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  return 0
}

# Whether programs start at all: a C library that is too old shows here, in the loader's words.
check_loader() {
  local message
  if ! message=$(bin/quire-worker --version 2>&1 | head -n 3) || grep -q 'GLIBC' <<<"$message"; then
    echo "check: the programs do not start here: $message" >&2
    exit 1
  fi
}

# start ARGS...: a coordinator on a free port; sets PORT.
start() {
  local deadline=$((SECONDS + READY_SECONDS))
  rm -f "$LOGS/port"
  bin/coordinator --model=models/demo --grpc_port=0 --port_file="$LOGS/port" --gpu_memory_utilization=0.3 "$@" \
    >>"$LOGS/coordinator.log" 2>&1 &
  COORDINATOR=$!
  until [[ -s $LOGS/port ]]; do
    if ! kill -0 "$COORDINATOR" 2>/dev/null || ((SECONDS > deadline)); then
      echo "the coordinator did not start with $*"
      tail -n 5 "$LOGS/coordinator.log"
      return 1
    fi
    sleep 0.1
  done
  PORT=$(<"$LOGS/port")
}

generate() { bin/generate --server="127.0.0.1:$PORT" --max_tokens=64 "$@" "$PROMPT"; }

# texts ARGS...: what a coordinator started so answers: greedy, sampled with a seed, and with penalties.
texts() {
  start "$@" || return 1
  generate --temperature=0 && generate --temperature=0.8 --top_p=0.9 --seed=7 && generate --temperature=1 --top_k=20 --seed=1 --repetition_penalty=1.2
  local code=$?
  cleanup
  return $code
}

cpu_texts() { texts --workers=local:1 >"$LOGS/cpu.txt"; }

# worker RANK ARGS...: a worker on GPU 0; adds its address to ADDRESSES.
worker() {
  local rank=$1 deadline=$((SECONDS + READY_SECONDS))
  shift
  rm -f "$LOGS/worker$rank.port"
  # Two ranks on one card: NCCL takes them for two hosts, and must not look for a way inside one.
  NCCL_HOSTID="quire$rank" NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_SOCKET_IFNAME=lo bin/quire-worker --listen=127.0.0.1:0 \
    --port_file="$LOGS/worker$rank.port" --device=cuda:0 "$@" >"$LOGS/worker$rank.log" 2>&1 &
  WORKERS+=($!)
  until [[ -s $LOGS/worker$rank.port ]]; do
    if ! kill -0 "${WORKERS[-1]}" 2>/dev/null || ((SECONDS > deadline)); then
      echo "the worker did not start:"
      tail -n 3 "$LOGS/worker$rank.log"
      return 1
    fi
    sleep 0.1
  done
  ADDRESSES+="${ADDRESSES:+,}127.0.0.1:$(<"$LOGS/worker$rank.port")"
}

# gpu_texts same|any ARGS...: one worker; `same`: its texts are the CPU's.
gpu_texts() {
  ADDRESSES=
  worker 0 "${@:2}" && texts --workers="$ADDRESSES" >"$LOGS/gpu_$1.txt" || { cleanup; return 1; }
  [[ $1 == any ]] || diff "$LOGS/cpu.txt" "$LOGS/gpu_$1.txt"
}

# two_ranks COLLECTIVE: the texts are the CPU's.
two_ranks() {
  ADDRESSES=
  worker 0 --deterministic && worker 1 --deterministic && texts --workers="$ADDRESSES" --collective="$1" >"$LOGS/two_ranks_$1.txt" ||
    { cleanup; return 1; }
  diff "$LOGS/cpu.txt" "$LOGS/two_ranks_$1.txt"
}

main() {
  local arg test
  for arg in "$@"; do
    case $arg in
      --quick) QUICK=1 ;;
      --logs=?*) LOGS=${arg#*=} ;;
      -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      *) echo "check: unknown option $arg (see --help)" >&2; exit 2 ;;
    esac
  done
  find_gpu
  [[ -d bin && -d lib ]] || tar -xzf programs.tar.gz || exit 1
  mkdir -p "$LOGS"
  LOGS=$(realpath "$LOGS")
  local cuda
  for cuda in /usr/local/cuda/lib64 /usr/local/cuda-13*/lib64 /usr/local/cuda/compat; do
    [[ ! -d $cuda ]] || LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:$cuda"
  done
  export LD_LIBRARY_PATH="$PWD/lib:${LD_LIBRARY_PATH:-}"
  check_loader
  for test in Backend Attention Expert Sampling; do
    timed "conformance ${test,}" bin/conformance_gpu_test --gtest_filter="*${test}Conformance*"
  done
  timed "determinism" bin/conformance_gpu_test --gtest_filter="*BatchDeterminism*"
  timed "goldens" bin/device_golden_gpu_test
  if [[ ! $QUICK ]]; then
    timed "end to end on the CPU" cpu_texts
    timed "end to end, GPU deterministic" gpu_texts same --deterministic
    timed "end to end, GPU" gpu_texts any
    timed "two ranks by NCCL on one card" two_ranks nccl
    timed "two ranks through host memory" two_ranks shm
    if command -v compute-sanitizer >/dev/null; then
      timed "memcheck" compute-sanitizer --error-exitcode 9 bin/conformance_gpu_test --gtest_filter='*BackendConformance*gpu_exact:-*Allocate*'
      timed "racecheck" compute-sanitizer --tool racecheck --error-exitcode 9 bin/conformance_gpu_test --gtest_filter='*Filters*:*Edits*'
    else
      note "compute-sanitizer" skipped - "not installed"
    fi
    timed "benchmarks" bin/gpu_ops && cat "$LOGS/benchmarks.log"
  fi
  echo
  printf '%s\n' "${ROWS[@]}"
  echo "revision $(<revision): ${#ROWS[@]} checks, $FAILED failed"
  ((FAILED == 0))
}

main "$@"
