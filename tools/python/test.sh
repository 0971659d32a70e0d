#!/usr/bin/env bash
# Installs the client package, as a user would, into a virtual environment of its own under ~/.cache/quire, checks its types and runs its
# tests against the coordinator of bazel-bin. The environment is made once for each requirements-test.txt; the package is installed anew.
#
# usage: tools/python/test.sh [PYTEST_ARGS...]
#   Environment: QUIRE_COORDINATOR: another program than bazel-bin's; PYTHON: the interpreter (python3).
#
# The last line is `N passed, N failed`. Exit code 3: pip could not fetch what requirements-test.txt names.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."

readonly PYTHON=${PYTHON:-python3}
readonly HERE=tools/python
SCRATCH=

# Prints the environment's folder; makes it if it is not there, whole or not at all.
make_environment() {
  local key folder
  key=$({ "$PYTHON" -V; cat "$HERE/requirements-test.txt"; } | sha256sum | cut -c1-16)
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/quire/python-$key
  if [[ ! -e $folder/ready ]]; then
    rm -rf "$folder"
    "$PYTHON" -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$HERE/requirements-test.txt" >&2 || return 3
    touch "$folder/ready"
  fi
  echo "$folder"
}

main() {
  local environment code=0
  environment=$(make_environment) || return 3
  SCRATCH=$(mktemp -d -t quire_python.XXXXXXXX)
  trap 'rm -rf "$SCRATCH"' EXIT
  # From a copy: a build leaves folders beside the sources.
  cp -r "$HERE" "$SCRATCH/package"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target "$SCRATCH/site" "$SCRATCH/package" >&2
  local -a python=(env PYTHONDONTWRITEBYTECODE=1 "PYTHONPATH=$SCRATCH/site" "$environment/bin/python")
  local types=1
  (cd "$SCRATCH/package" && "${python[@]}" -m mypy --cache-dir="$SCRATCH/mypy" quire) >&2 || types=
  "${python[@]}" -m pytest -q -p no:cacheprovider --junitxml="$SCRATCH/report.xml" "$HERE/tests" "$@" >&2 || code=$?
  "${python[@]}" - "$SCRATCH/report.xml" "${types:-0}" <<'EOS'
import sys
import xml.etree.ElementTree as tree
try:
    suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    good = int(suite.get("tests")) - bad - int(suite.get("skipped"))
except (OSError, AttributeError, tree.ParseError):
    good, bad = 0, 1
types = int(sys.argv[2])
print(f"{good + types} passed, {bad + 1 - types} failed")
EOS
  [[ $code == 0 && $types ]]
}

main "$@"
