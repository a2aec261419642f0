#!/usr/bin/env bash
# Runs every fuzz target of every module for the time given: fuzz.sh 10s.
# Findings stay as seeds under testdata/fuzz of their package.
set -euo pipefail
time=${1:?how long for each target}
cd "$(git rev-parse --show-toplevel)"
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "fuzz $(dirname "$file") $target"
  (cd "$(dirname "$file")" && go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 200x .) | tail -n 1
done < <(git grep --untracked -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's,func ,,')
[ "$found" -gt 0 ] || { echo "no fuzz target found"; exit 1; }
