#!/usr/bin/env bash
# Runs public clients, unchanged, against the coordinator of bazel-bin: the packages openai and langchain-openai, in a virtual environment of
# their own under ~/.cache/quire that is made once for each requirements.txt.
#
# usage: tests/clients/test.sh [PYTEST_ARGS...]
#   Environment: QUIRE_COORDINATOR: another program than bazel-bin's; PYTHON: the interpreter (python3).
#
# The last line is `N passed, N failed`. Exit code 3: pip could not fetch what requirements.txt names.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."

readonly HERE=tests/clients
SCRATCH=

main() {
  local environment code=0
  case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; return 0 ;;
  esac
  environment=$(tools/environment.sh clients "$HERE/requirements.txt") || return 3
  SCRATCH=$(mktemp -d -t quire_clients.XXXXXXXX)
  trap 'rm -rf "$SCRATCH"' EXIT
  # Proxies of the environment would stand between the clients and a server on this machine; nothing is sent to LangChain's makers.
  env -u http_proxy -u https_proxy -u all_proxy -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY PYTHONDONTWRITEBYTECODE=1 LANGSMITH_TRACING=false \
    "$environment/bin/python" -m pytest -q -p no:cacheprovider --junitxml="$SCRATCH/report.xml" "$HERE" "$@" >&2 || code=$?
  python3 tools/pytest_report.py "$SCRATCH/report.xml"
  return "$code"
}

main "$@"
