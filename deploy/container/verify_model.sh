#!/bin/sh
# Compares the files of a model directory with its SHA256SUMS (as sha256sum writes it), if there is one. Exit code 0: all are the same, or
# there is no list; 1: a file differs or is missing; 2: usage.
#
# usage: quire-verify-model DIR [--skip_weights]
#   --skip_weights   leave out *.safetensors and *.bin, for a process that does not read them
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "${2:---skip_weights}" != --skip_weights ]; then
  echo "usage: quire-verify-model DIR [--skip_weights]" >&2
  exit 2
fi
cd "$1"
if [ ! -f SHA256SUMS ]; then
  echo "no SHA256SUMS in $1: not checked"
  exit 0
fi
if [ $# -eq 2 ]; then
  list=$(grep -vE '\.(safetensors|bin)$' SHA256SUMS || true)
else
  list=$(cat SHA256SUMS)
fi
# sha256sum takes a list without entries for an error, and it is one, unless all of them were left out.
if [ $# -eq 2 ] && [ -z "$list" ] && grep -q . SHA256SUMS; then
  echo "SHA256SUMS lists nothing that is read here"
  exit 0
fi
printf '%s\n' "$list" | sha256sum --check --strict --quiet -
echo "$(printf '%s\n' "$list" | wc -l) files are as SHA256SUMS says"
