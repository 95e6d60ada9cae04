#!/usr/bin/env bash
# Fails when the protos break those of a revision: tools/breaking.sh [REVISION], default main. Run tools/generate.sh first.
# `buf breaking --against .git` alone would not do: others' protos in .cache are not in git.
set -euo pipefail
cd "$(dirname "$0")/.."
against=${1:-main}
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$against" buf.yaml distributor/api/proto distributor/mcp/proto | tar -x -C "$old"
mkdir "$old/.cache"
cp -r .cache/protos "$old/.cache/protos"
BUF_CACHE_DIR=$PWD/.cache/buf .cache/tools/buf breaking --against "$old"
