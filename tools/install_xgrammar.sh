#!/usr/bin/env bash
# Brings the sources of xgrammar, the library behind constrained output (json_schema, regex, grammar, choice), from PyPI's source
# distribution into ~/.cache/quire. Debian has no package of it. Idempotent; without it everything builds and works but that.
#
# usage: tools/install_xgrammar.sh
set -euo pipefail

readonly VERSION=0.2.8  # also in third_party/xgrammar.bzl
readonly SHA256=8305646fd2b319d6c3003f51a1665e54cbbe9cba1fb636bc41d0b46434ccbb80
readonly TARGET="$HOME/.cache/quire/xgrammar-$VERSION"

case ${1:-} in
  "") ;;
  -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  *) echo "install_xgrammar: unknown option $1 (see --help)" >&2; exit 2 ;;
esac
[[ ! -e $TARGET/LICENSE ]] || exit 0

mkdir -p "$(dirname "$TARGET")"
part=$(mktemp -d "$TARGET.XXXXXX")
trap 'rm -rf "$part"' EXIT
# Not in a build of its own: pip only fetches. The build system that it asks for to read the metadata is not used.
log=$part/log
python3 -m venv "$part/venv"
if ! "$part/venv/bin/pip" download -q --no-deps --no-binary xgrammar --dest "$part" "xgrammar==$VERSION" >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  echo "install_xgrammar: cannot fetch xgrammar $VERSION; constrained output will not be served" >&2
  exit 1
fi
echo "$SHA256  $part/xgrammar-$VERSION.tar.gz" | sha256sum --check --quiet
tar -xzf "$part/xgrammar-$VERSION.tar.gz" -C "$part" --no-same-owner
mv -T "$part/xgrammar-$VERSION" "$TARGET" 2>/dev/null || [[ -e $TARGET/LICENSE ]]  # another one was faster
echo "xgrammar $VERSION is in place"
