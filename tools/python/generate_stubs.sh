#!/usr/bin/env bash
# Writes the Python messages of proto/generate.proto anew, with protoc (Debian 12's, as tools/install_deps.sh installs it: code of an older
# protoc runs with every newer protobuf package). //tools/python:stubs_test compares the result with what is in the tree.
#
# usage: tools/python/generate_stubs.sh [OUT_DIR]     OUT_DIR: quire/_proto beside this script
set -euo pipefail
here=$(dirname "$(realpath -s "$0")")
out=${1:-$here/quire/_proto}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The name under which the descriptor is registered is the one that every other user of the proto sees.
(cd "$here/../.." && protoc --python_out="$scratch" --pyi_out="$scratch" proto/generate.proto)
mkdir -p "$out"
cp "$scratch/proto/generate_pb2.py" "$scratch/proto/generate_pb2.pyi" "$out/"
