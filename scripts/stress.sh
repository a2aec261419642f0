#!/usr/bin/env bash
# Runs tests repeatedly while eight busy processes compete for the processors: a
# test that depends on timing fails here rather than now and then in CI.
#
#   stress.sh                 the short tests of all modules N times (10), then
#                             all tests of the packages that start servers twice
#   PKG=./relay/... stress.sh all tests of some packages, N times
#
# The exit code is that of the first run that failed, and 124 after 90 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
n=${N:-10}

load=()
trap 'kill "${load[@]}" 2> /dev/null || true' EXIT
for _ in 1 2 3 4 5 6 7 8; do
  (while kill -0 $$; do :; done) 2> /dev/null & # ends if this script is killed, too
  load+=($!)
done

run() { timeout -k 10 "$((90 * 60 - SECONDS))" go test -race -vet=off -shuffle=on -timeout 90m "$@"; }
if [ -n "${PKG:-}" ]; then
  # shellcheck disable=SC2086 # a list
  run -count="$n" $PKG
  exit
fi
run -short -count="$n" work
# shellcheck disable=SC2046
run -count=2 $(git grep -lE 'internal/testkit/(servers|storetest)"' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's,^,./,')
