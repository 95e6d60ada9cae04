#!/bin/sh
# Builds the filter in Rust: build.sh OUT.wasm
#
# It needs cargo with the standard library for wasm32-wasip1 (Rust 1.78 or later); where rustup is, it fetches that library. All versions of
# crates are pinned in Cargo.toml and Cargo.lock. `go test -tags interop ./sdk/filtertest -run TestRust` runs it and tries the module.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
target=wasm32-wasip1
command -v cargo >/dev/null || { echo "cargo is not there: install Rust (https://rustup.rs), then run this again" >&2; exit 1; }
if command -v rustup >/dev/null; then
	rustup target list --installed | grep -qx "$target" || rustup target add "$target"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"
cargo build --quiet --release --locked --target "$target" --target-dir "$work"
cp "$work/$target/release/rustfilter.wasm" "$out"
