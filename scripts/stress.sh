#!/usr/bin/env bash
# Runs tests repeatedly while eight busy processes compete for the processors: a
# test that depends on timing fails here rather than now and then in CI.
#
#   stress.sh                 the short tests of all modules N times (10), then
#                             all tests of the packages that start servers twice
#   PKG=./relay/... stress.sh all tests of some packages, N times
#
# Everything is compiled before the load begins. All packages run even if one
# fails; the exit code tells whether any did. It ends after 90 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
n=${N:-10}
deadline=$(($(date +%s) + 90 * 60))
tmp=$(mktemp -d)
load=()
trap 'kill "${load[@]}" 2> /dev/null || true; rm -rf "$tmp"' EXIT

packages=${PKG:-work}
# shellcheck disable=SC2086 # a list
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' $packages | sed '/^$/d' > "$tmp/list"
echo "compiling the tests of $(wc -l < "$tmp/list") packages"
while read -r path dir; do
  (cd "$dir" && go test -race -vet=off -c -o "$tmp/${path//\//_}.test" .)
done < "$tmp/list"

for _ in 1 2 3 4 5 6 7 8; do
  (while kill -0 $$; do :; done) 2> /dev/null & # ends if this script is killed, too
  load+=($!)
done

run() { # a package, its folder, then flags
  path=$1 dir=$2
  shift 2
  log=$tmp/log.${path//\//_}.$BASHPID
  left=$((deadline - $(date +%s)))
  if [ $left -lt 1 ]; then
    echo "NOT RUN after 90 minutes: $path"
    touch "$tmp/failed"
    return
  fi
  begin=$(date +%s)
  if (cd "$dir" && timeout -k 10 $left "$tmp/${path//\//_}.test" -test.shuffle=on -test.timeout=90m "$@") > "$log" 2>&1; then
    printf 'ok   %-60s %5d s\n' "$path $*" $(($(date +%s) - begin))
  else
    printf 'FAIL %-60s %5d s\n%s\n' "$path $*" $(($(date +%s) - begin)) "$(tail -n 60 "$log")"
    touch "$tmp/failed"
  fi
}

# Four at a time: alone beside the load, a test gets a ninth of the processors,
# and ten rounds of everything take hours.
all() { # the list, then flags
  list=$1
  shift
  while read -r path dir; do
    while [ "$(jobs -rp | wc -l)" -ge $((${#load[@]} + 4)) ]; do wait -n; done
    run "$path" "$dir" "$@" &
    running+=($!)
  done < "$list"
  [ ${#running[@]} -eq 0 ] || wait "${running[@]}"
  running=()
}

running=()
short=(-test.short)
[ -z "${PKG:-}" ] || short=()
all "$tmp/list" ${short[@]+"${short[@]}"} -test.count="$n"
if [ -z "${PKG:-}" ]; then
  while read -r path dir; do
    if grep -qE 'internal/testkit/(servers|storetest)"' "$dir"/*_test.go; then
      echo "$path $dir"
    fi
  done < "$tmp/list" > "$tmp/servers"
  all "$tmp/servers" -test.count=2
fi
[ ! -e "$tmp/failed" ]
