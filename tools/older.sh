#!/usr/bin/env bash
# older.sh COMMIT FILE: builds the waft of an older commit or tag to FILE, from the history of this clone, and leaves the checkout alone. Where the history does not
# have it, as in a shallow clone, it says so and builds nothing.
set -euo pipefail
commit=$1 file=$2
if [ -x "$file" ]; then exit 0; fi
if ! hash=$(git rev-parse --verify --quiet "$commit^{commit}"); then
  shallow=$(git rev-parse --is-shallow-repository 2>/dev/null || echo "no clone at all")
  echo "skipped: the history here does not have $commit (shallow: $shallow); git fetch --unshallow gets it" >&2
  exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
git archive --format=tar "$hash" | tar -x -C "$dir"
mkdir -p "$(dirname "$file")"
file=$(cd "$(dirname "$file")" && pwd)/$(basename "$file")
# Beside, then one rename: an interrupted build leaves nothing that looks whole.
(cd "$dir" && ${GO:-go} build -buildvcs=false -ldflags "-X main.version=$commit" -o "$file.part" ./cmd/waft)
mv "$file.part" "$file"
