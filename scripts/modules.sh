#!/usr/bin/env bash
# Tests each module of this repository by itself, as its users build it:
# modules.sh FOLDER... Three at a time, since those with servers mostly wait.
set -euo pipefail
export GOWORK=off

one() { # a folder; its log is printed whole, at its end
  log=$(mktemp)
  status=0
  (
    cd "$1"
    go mod tidy -diff && go vet ./... && go build -o /dev/null ./... || exit 1
    case $1 in
    # The root was tested under the race detector before; and a month of simulated
    # traffic, by one goroutine, takes minutes under it.
    . | examples/analytics) go test -short -count=1 ./... ;;
    # SQLite's C in Go is slow under the detector, but must not be left out of it: the linker
    # keeps one copy of a generic function, and an atomic one without the detector hides orders.
    *) go test -race -shuffle=on -count=1 -timeout 60m ./... ;; # on a machine that does other work, too
    esac
  ) > "$log" 2>&1 || status=$?
  echo "module $1"
  cat "$log"
  rm -f "$log"
  return $status
}
export -f one
printf '%s\n' "$@" | sort -r | xargs -P 3 -I{} bash -c 'one {}' # the longest are at the end of the alphabet
