#!/usr/bin/env bash
# Unpacks Debian's packages of programs into .cache/debian, with the libraries that they need and this machine lacks, and writes a starter for each
# to .cache/tools. Nothing is installed, so no root is needed (but for `apt-get update`, where that was never run).
# Usage: tools/debian.sh PACKAGE…, each with a program of its name.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/.cache/debian
if ! apt-cache show "$@" >/dev/null 2>&1; then
  apt-get update -qq || { echo "debian.sh: apt knows no $*; run 'apt-get update' as root" >&2; exit 1; }
fi
mkdir -p "$root.part" .cache/tools
# What apt would install: the packages and what they need of what is not there. One that is installed is unpacked all the same.
packages=$(apt-get install --print-uris --no-install-recommends -qq -y "$@" | awk '{ sub(/_.*/, "", $2); print $2 }')
(cd "$root.part" && apt-get download -qq $(printf '%s\n' $packages "$@" | sort -u) 2> >(grep -v unsandboxed >&2 || true))
mkdir -p "$root"
for deb in "$root.part"/*.deb; do dpkg -x "$deb" "$root"; done
rm -rf "$root.part"
for program in "$@"; do
  libs=$(find "$root" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd: || true)
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libs" "$root/usr/bin/$program" > ".cache/tools/$program"
  chmod +x ".cache/tools/$program"
done
