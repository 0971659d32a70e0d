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

readonly PYTHON=${PYTHON:-python3}
readonly HERE=tests/clients
SCRATCH=

# Prints the environment's folder; makes it if it is not there, whole or not at all.
make_environment() {
  local key folder
  key=$({ "$PYTHON" -V; cat "$HERE/requirements.txt"; } | sha256sum | cut -c1-16)
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/quire/clients-$key
  if [[ ! -e $folder/ready ]]; then
    rm -rf "$folder"
    "$PYTHON" -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$HERE/requirements.txt" >&2 || return 3
    touch "$folder/ready"
  fi
  echo "$folder"
}

main() {
  local environment code=0
  case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; return 0 ;;
  esac
  environment=$(make_environment) || return 3
  SCRATCH=$(mktemp -d -t quire_clients.XXXXXXXX)
  trap 'rm -rf "$SCRATCH"' EXIT
  # Proxies of the environment would stand between the clients and a server on this machine; nothing is sent to LangChain's makers.
  env -u http_proxy -u https_proxy -u all_proxy -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY PYTHONDONTWRITEBYTECODE=1 LANGSMITH_TRACING=false \
    "$environment/bin/python" -m pytest -q -p no:cacheprovider --junitxml="$SCRATCH/report.xml" "$HERE" "$@" >&2 || code=$?
  "$environment/bin/python" - "$SCRATCH/report.xml" <<'EOS'
import sys
import xml.etree.ElementTree as tree
try:
    suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    good = int(suite.get("tests")) - bad - int(suite.get("skipped"))
except (OSError, AttributeError, tree.ParseError):
    good, bad = 0, 1
print(f"{good} passed, {bad} failed")
EOS
  return "$code"
}

main "$@"
