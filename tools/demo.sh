#!/usr/bin/env bash
# Shows Quire at work: sets up what is missing, builds, starts a coordinator with two tensor-parallel workers on the demo model, streams a
# few continuations, prints time to first token, time per token and block usage, starts once more to time a warm start, and ends.
#
# usage: tools/demo.sh [--serve] [--model=DIR] [--workers=N] [PROMPT...]
#   --serve      stay up after the prompts until Ctrl-C, and say how to talk to it
#   --model=DIR  a Hugging Face model directory (default: the demo model in models/demo)
#   --workers=N  ranks of the tensor-parallel group (default 2)
#   PROMPT...    texts to continue instead of the demo's own
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$(realpath "$0")")/.."

SERVE=
MODEL=models/demo
WORKERS=2
PROMPTS=()
COORDINATOR=  # process id; it leads a process group of its own, workers included
RUN_DIR=
readonly READY_SECONDS=120
readonly WARM_START_BUDGET_MS=2000

say() { if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }

die() {
  echo "demo: $*" >&2
  exit 1
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

parse() {
  local arg
  for arg in "$@"; do
    case $arg in
      --serve) SERVE=1 ;;
      --model=?*) MODEL=${arg#*=} ;;
      --workers=[1-9]*) WORKERS=${arg#*=} ;;
      -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      -*) die "unknown option $arg (see --help)" ;;
      *) PROMPTS+=("$arg") ;;
    esac
  done
  ((${#PROMPTS[@]})) || PROMPTS=("Once upon a time" "One sunny morning, Anna" $'Question: Why is the sky blue?\nAnswer:')
}

set_up() {
  tools/install_deps.sh
  say "Building (the first time takes minutes; later from the cache)"
  local -a flags=()
  [[ -t 1 ]] || flags+=(--curses=no --color=no --show_progress_rate_limit=20)
  bazel build "${flags[@]}" //coordinator //worker //tools:generate </dev/null
}

# Starts a coordinator on a free loopback port and waits until it serves; sets COORDINATOR, PORT and STARTED_MS.
start() {
  local deadline=$((SECONDS + READY_SECONDS))
  rm -f "$RUN_DIR/port"
  STARTED_MS=$(now_ms)
  # A guest on somebody's machine: the cache takes a little, not the default share of all memory.
  setsid bazel-bin/coordinator/coordinator --model="$MODEL" --workers="local:$WORKERS" --grpc_port=0 --port=-1 --port_file="$RUN_DIR/port" \
    --kv_cache_memory_bytes=$((64 << 20)) --shutdown_timeout=2s </dev/null >>"$RUN_DIR/coordinator.log" 2>&1 &
  COORDINATOR=$!
  until [[ -s $RUN_DIR/port ]]; do
    kill -0 "$COORDINATOR" 2>/dev/null || die_with_log "the coordinator ended before it was ready"
    ((SECONDS < deadline)) || die_with_log "not ready after $READY_SECONDS s"
    sleep 0.02
  done
  PORT=$(<"$RUN_DIR/port")
}

die_with_log() {
  tail -n 30 "$RUN_DIR/coordinator.log" >&2
  die "$*"
}

# Ends the coordinator, which ends its workers; whatever is left of its group is killed.
stop() {
  [[ -n $COORDINATOR ]] || return 0
  local deadline=$((SECONDS + 10))
  kill -TERM "$COORDINATOR" 2>/dev/null || true
  while kill -0 "$COORDINATOR" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
  kill -KILL -- "-$COORDINATOR" 2>/dev/null || true
  wait "$COORDINATOR" 2>/dev/null || true
  COORDINATOR=
}

cleanup() {
  stop
  [[ -z $RUN_DIR ]] || rm -rf "$RUN_DIR"
}

generate() { bazel-bin/tools/generate --server="127.0.0.1:$PORT" "$@" </dev/null; }

# Prints what comes and leaves the time of its first byte in $RUN_DIR/first_ms.
note_first_byte() {
  local byte=
  IFS= read -r -N 1 byte || true
  now_ms >"$RUN_DIR/first_ms"
  printf '%s' "$byte"
  cat
}

# first_token_after_start: milliseconds from the start of the coordinator's process to the first text that the client prints.
first_token_after_start() {
  generate --max_tokens=8 --temperature=0 "${PROMPTS[0]}" | note_first_byte >/dev/null || die_with_log "no answer to the first prompt"
  echo $(($(<"$RUN_DIR/first_ms") - STARTED_MS))
}

# Starts three long streams that nobody reads and waits until they run.
busy_streams() {
  BUSY=()
  local i
  for i in 1 2 3; do
    generate --max_tokens=400 --ignore_eos --seed="$i" "${PROMPTS[0]}" >"$RUN_DIR/stream$i" &
    BUSY+=($!)
  done
  for ((i = 0; i < 100; i++)); do
    [[ ! -s $RUN_DIR/stream3 ]] || return 0
    sleep 0.01
  done
}

main() {
  parse "$@"
  RUN_DIR=$(mktemp -d -t quire_demo.XXXXXXXX)
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  set_up

  say "Starting a coordinator and $WORKERS workers on $MODEL"
  start
  local prompt milliseconds
  milliseconds=$(first_token_after_start)
  echo "start to first token: $milliseconds ms (first start)"
  for prompt in "${PROMPTS[@]}"; do
    say "> $prompt"
    generate --stats --max_tokens=80 --temperature=0.2 --seed=7 "$prompt"
  done
  say "> ${PROMPTS[0]} (with three other streams in the same batch: see the blocks in use)"
  busy_streams
  generate --stats --max_tokens=80 --temperature=0.2 --seed=7 "${PROMPTS[0]}"
  wait "${BUSY[@]}" || die_with_log "a stream failed"

  if [[ $SERVE ]]; then
    say "Serving on 127.0.0.1:$PORT until Ctrl-C. In another terminal:"
    echo "  bazel-bin/tools/generate --server=127.0.0.1:$PORT --stats 'Once upon a time'"
    wait "$COORDINATOR" || die_with_log "the coordinator ended"
    return
  fi
  stop

  say "Starting again, files now in memory"
  start
  milliseconds=$(first_token_after_start)
  echo "start to first token: $milliseconds ms (second start; budget $WARM_START_BUDGET_MS ms)"
  stop
  ((milliseconds < WARM_START_BUDGET_MS)) || echo "demo: the second start is over its budget; is this machine busy?" >&2
  say "Done. tools/demo.sh --serve keeps it up; README.md says how to serve your own model."
}

main "$@"
