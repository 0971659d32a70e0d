#!/usr/bin/env bash
# Checks the rendered manifests against the schemas of Kubernetes and of the custom kinds. The programs that do it come from PyPI, at the
# versions of requirements.txt, into an environment of their own under ~/.cache/quire; made once, then nothing is fetched.
#
# usage: tests/deploy/validate.sh [--self_test]     exit code 0: all valid; 1: findings; 3: the environment could not be made
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"

main() {
  local venv
  # Debian's interpreter: another one's packages may differ.
  venv=$(PYTHON=/usr/bin/python3 ../../tools/environment.sh validate requirements.txt) || return 3
  if [[ ${1:-} == --self_test ]]; then
    "$venv/bin/python" -B validate_check.py
  else
    "$venv/bin/python" -B validate.py
  fi
}

main "$@"
