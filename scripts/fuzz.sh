#!/usr/bin/env bash
# Runs the fuzz targets of the packages given, or of all, for the time given
# each: fuzz.sh 10s [FOLDER...]
# A failing input stays as a seed in the package's testdata/fuzz.
set -euo pipefail
time=${1:?how long each target runs, for example 10s}
shift
cd "$(dirname "$0")/.."
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "fuzz $(dirname "$file") $target"
  (cd "$(dirname "$file")" && go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 200x .) | tail -n 1
done < <(git grep --untracked -oE '^func Fuzz[A-Za-z0-9_]+' -- "${@:-.}" | grep '_test\.go:' | sed 's,func ,,')
[ "$found" -gt 0 ] || { echo "no fuzz target found"; exit 1; }
