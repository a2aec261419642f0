#!/usr/bin/env bash
# Runs targets of the Makefile one after the other until one fails, and prints
# how long each took: stages.sh format lint ...
set -euo pipefail
cd "$(dirname "$0")/.."
times=
finish() {
  status=$?
  echo
  printf "$times"
  [ $status = 0 ] || echo "FAILED: $stage, after $SECONDS s"
}
trap finish EXIT
for stage in "$@"; do
  echo "== $stage"
  SECONDS=0
  "${MAKE:-make}" --no-print-directory "$stage"
  times+=$(printf '%-16s %5d s' "$stage" "$SECONDS")'\n'
done
