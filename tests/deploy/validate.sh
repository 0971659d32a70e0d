#!/usr/bin/env bash
# Checks the rendered manifests against the schemas of Kubernetes and of the custom kinds. The programs that do it come from PyPI, at the
# versions of requirements.txt, into an environment of their own under ~/.cache/quire; made once, then nothing is fetched.
#
# usage: tests/deploy/validate.sh [--self_test]     exit code 0: all valid; 1: findings; 3: the environment could not be made
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"

main() {
  local digest venv log
  digest=$(sha256sum requirements.txt | cut -c1-12)
  venv=${XDG_CACHE_HOME:-$HOME/.cache}/quire/validate-$digest
  if [[ ! -e $venv/ready ]]; then
    log=$(mktemp)
    rm -rf "$venv"
    if ! { /usr/bin/python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --no-input --requirement requirements.txt; } >"$log" 2>&1; then
      tail -n 3 "$log" >&2
      rm -rf "$venv" "$log"
      return 3
    fi
    rm -f "$log"
    touch "$venv/ready"
  fi
  if [[ ${1:-} == --self_test ]]; then
    "$venv/bin/python" -B validate_check.py
  else
    "$venv/bin/python" -B validate.py
  fi
}

main "$@"
