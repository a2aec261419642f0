#!/usr/bin/env bash
# Tidies every module, or checks that each is tidy: tidy.sh [-diff]
#
# The nested modules require versions of each other that may not be published
# yet, which go mod tidy would look for. So it works on copies of the go.mod
# files in which those versions are the folders here.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
modules=$(go list -m -f '{{.Path}} {{.Dir}}')
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export GOWORK=off

replaces=() drops=()
while read -r path dir; do
  replaces+=("-replace=$path=$dir")
  drops+=("-dropreplace=$path")
done <<< "$modules"

failed=0
while read -r path dir; do
  cd "$dir"
  cp go.mod go.sum "$tmp"
  go mod edit "${replaces[@]}" "$tmp/go.mod"
  if ! go mod tidy -modfile="$tmp/go.mod" "$@"; then
    echo "not tidy: $path (make tidy)"
    failed=1
  fi
  [ $# = 0 ] || continue
  go mod edit "${drops[@]}" "$tmp/go.mod"
  cp "$tmp/go.mod" "$tmp/go.sum" .
done <<< "$modules"
exit $failed
