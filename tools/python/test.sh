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

readonly HERE=tools/python
SCRATCH=

main() {
  local environment code=0
  environment=$(tools/environment.sh python "$HERE/requirements-test.txt") || return 3
  SCRATCH=$(mktemp -d -t quire_python.XXXXXXXX)
  trap 'rm -rf "$SCRATCH"' EXIT
  # From a copy: a build leaves folders beside the sources.
  cp -r "$HERE" "$SCRATCH/package"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target "$SCRATCH/site" "$SCRATCH/package" >&2
  local -a python=(env PYTHONDONTWRITEBYTECODE=1 "PYTHONPATH=$SCRATCH/site" "$environment/bin/python")
  local types=1
  (cd "$SCRATCH/package" && "${python[@]}" -m mypy --cache-dir="$SCRATCH/mypy" quire) >&2 || types=
  "${python[@]}" -m pytest -q -p no:cacheprovider --junitxml="$SCRATCH/report.xml" "$HERE/tests" "$@" >&2 || code=$?
  python3 tools/pytest_report.py "$SCRATCH/report.xml" "${types:-0}" "$((1 - ${types:-0}))"
  [[ $code == 0 && $types ]]
}

main "$@"
