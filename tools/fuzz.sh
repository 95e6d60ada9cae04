#!/usr/bin/env bash
# fuzz.sh TIME PACKAGE...: runs each fuzz target of the packages for so long, all of them whatever fails, and says at the end how many passed, and which
# failed.
#
# Go before 1.27 may say that a target failed which has found nothing when its time is over on a busy machine (go.dev/issue/75804): "context deadline exceeded", and no
# input was written. Such a one is run again, a few times. What is found to be new is made smaller in a few runs only: Go takes up to a minute for each else, and of a
# short time nothing is left to try inputs in.
set -euo pipefail
time=$1
shift
(($#)) || { echo "fuzz.sh: no packages" >&2; exit 2; }
again=3
out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=() passed=0
for pkg in "$@"; do
  # What does not build, or cannot be listed, is no package without targets.
  targets=$(${GO:-go} test -list '^Fuzz' "$pkg" | { grep '^Fuzz' || true; }) || { failed+=("$pkg"); continue; }
  for target in $targets; do
    for ((run = 1; ; run++)); do
      echo "$pkg $target"
      if ${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x "$pkg" 2>&1 | tee "$out"; then passed=$((passed + 1)); break; fi
      if ((run < again)) && grep -q '^ *context deadline exceeded$' "$out" && ! grep -q 'Failing input written\|panic:' "$out"; then continue; fi
      failed+=("$pkg $target")
      break
    done
  done
done
if ((${#failed[@]})); then printf 'failed: %s\n' "${failed[@]}"; fi
echo "$passed passed, ${#failed[@]} failed"
((${#failed[@]} == 0))
