#!/usr/bin/env bash
# Runs a public load generator, unchanged, against the coordinator of bazel-bin with the demo model: aiperf (PyPI), chat completions, streaming.
# No part of tools/test.sh: its environment takes 1.2 GB and times on a busy machine decide nothing. Exit code 0: no request failed and
# every answer had the length that was asked for.
#
# usage: tests/clients/aiperf.sh [REQUESTS [CONCURRENCY]]    (default 60 4)
#   Environment: QUIRE_COORDINATOR: another program than bazel-bin's; AIPERF: an aiperf that is there already; PYTHON: the interpreter.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."

readonly VERSION=0.13.0
readonly COORDINATOR=${QUIRE_COORDINATOR:-bazel-bin/coordinator/coordinator}
readonly OUTPUT_TOKENS=24
SCRATCH=
SERVER=

cleanup() {
  [[ -z $SERVER ]] || { kill -TERM "$SERVER" 2>/dev/null && wait "$SERVER"; } || true
  [[ -z $SCRATCH ]] || rm -rf "$SCRATCH"
}

make_environment() {
  local folder=${XDG_CACHE_HOME:-$HOME/.cache}/quire/aiperf-$VERSION
  if [[ ! -e $folder/ready ]]; then
    rm -rf "$folder"
    "${PYTHON:-python3}" -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check "aiperf==$VERSION" >&2
    touch "$folder/ready"
  fi
  echo "$folder/bin/aiperf"
}

main() {
  case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; return 0 ;;
  esac
  local requests=${1:-60} concurrency=${2:-4} aiperf port deadline
  aiperf=${AIPERF:-$(make_environment)}
  SCRATCH=$(mktemp -d -t quire_aiperf.XXXXXXXX)
  trap cleanup EXIT
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  # The demo model has no chat template; tests/clients makes a copy with one.
  PYTHONPATH=tests/clients python3 -c 'import pathlib, sys, chat_model; chat_model.make_chat_model(pathlib.Path(sys.argv[1]))' "$SCRATCH/model"
  "$COORDINATOR" --model="$SCRATCH/model" --served_model_name=demo --workers=local:1 --grpc_port=0 --port="$port" \
    --port_file="$SCRATCH/grpc_port" --kv_cache_memory_bytes=$((64 << 20)) --shutdown_timeout=2s </dev/null >"$SCRATCH/log" 2>&1 &
  SERVER=$!
  deadline=$((SECONDS + 120))
  until [[ -s $SCRATCH/grpc_port ]]; do
    kill -0 "$SERVER" 2>/dev/null && ((SECONDS < deadline)) || { tail -n 20 "$SCRATCH/log" >&2; return 1; }
    sleep 0.05
  done
  # Prompts are made up, the tokenizer is the model's.
  "$aiperf" profile --model demo --tokenizer "$SCRATCH/model" --url "http://127.0.0.1:$port" --endpoint-type chat --streaming \
    --concurrency "$concurrency" --request-count "$requests" --synthetic-input-tokens-mean 48 --output-tokens-mean "$OUTPUT_TOKENS" \
    --extra-inputs ignore_eos:true --use-server-token-count --random-seed 7 --ui none --artifact-dir "$SCRATCH/out" </dev/null
  python3 - "$SCRATCH/out/profile_export_aiperf.json" "$requests" "$OUTPUT_TOKENS" <<'EOS'
import json
import sys
found, requests, tokens = json.load(open(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3])
done = found["request_count"]["avg"]
errors = found.get("error_request_count", {}).get("avg", 0)
length = found["output_sequence_length"]
print(f"{done:.0f} of {requests} requests, {errors:.0f} errors, output tokens {length['min']:.0f} to {length['max']:.0f}")
sys.exit(0 if done == requests and not errors and length["min"] == length["max"] == tokens else 1)
EOS
}

main "$@"
