#!/usr/bin/env bash
# Makes a Python virtual environment with pinned packages under ~/.cache/quire, whole or not at all, once for each interpreter and list of
# packages; prints its folder.
#
# usage: tools/environment.sh NAME REQUIREMENTS      exit code 3: pip could not fetch what the file names
#   Environment: PYTHON: the interpreter (python3).
set -euo pipefail

main() {
  local name=$1 requirements=$2 python=${PYTHON:-python3} key folder
  key=$({ "$python" -V; cat "$requirements"; } | sha256sum | cut -c1-16)
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/quire/$name-$key
  if [[ ! -e $folder/ready ]]; then
    rm -rf "$folder"
    if ! { "$python" -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$requirements"; } >&2; then
      rm -rf "$folder"
      return 3
    fi
    touch "$folder/ready"
  fi
  echo "$folder"
}

case ${1:-} in
  "" | -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" ;;
  *) main "$@" ;;
esac
