#!/usr/bin/env bash
# Runs tests repeatedly while eight busy processes compete for the processors: a
# test that depends on timing fails here rather than now and then in CI.
#
#   stress.sh                 the short tests of all modules N times (10), and
#                             all tests of the packages that start servers twice
#                             (of otpstats only those that do: the others compute)
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
# and ten rounds of everything take hours. Nothing waits for the slowest.
queue() { # the arguments of run
  await 3
  run "$@" &
}

await() { # until at most so many are running
  while [ "$(jobs -rp | wc -l)" -gt $((${#load[@]} + $1)) ]; do wait -n || true; done
}

if [ -n "${PKG:-}" ]; then
  while read -r path dir; do queue "$path" "$dir" -test.count="$n"; done < "$tmp/list"
else
  while read -r path dir; do
    starts=$(grep -lE 'internal/testkit/(servers|storetest)"' "$dir"/*_test.go || true)
    if [ "${path##*/}" = otpstats ]; then
      # shellcheck disable=SC2086 # a list
      only=$(grep -hoE '^func Test[A-Za-z_]+' $starts | sed 's/func //' | paste -sd '|')
      queue "$path" "$dir" -test.count=2 -test.run="^($only)\$"
    elif [ -n "$starts" ]; then
      queue "$path" "$dir" -test.count=2
    fi
    queue "$path" "$dir" -test.short -test.count="$n"
  done < "$tmp/list"
fi
await 0
[ ! -e "$tmp/failed" ]
