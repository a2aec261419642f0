#!/usr/bin/env bash
# Makes a release of all modules at one version: release.sh v0.2.0
#
# It checks that the tree is clean, the changelog has the version, and the API
# breaks nothing (ALLOW_BREAKING=1 where the changelog says that it does), sets
# what nested modules require of the root, runs the tests and the consumer
# check, commits and tags. It pushes nothing: it prints the command that does.
set -euo pipefail
version=${1:?which version, as v0.2.0}
apidiff=golang.org/x/exp/cmd/apidiff@v0.0.0-20261014143641-f0251eb4aa3e
cd "$(git rev-parse --show-toplevel)"
die() { echo "release: $*" >&2; exit 1; }

[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "$version is no version"
[ -z "$(git status --porcelain)" ] || die "the tree is not clean"
! git rev-parse -q --verify "refs/tags/$version" > /dev/null || die "$version is tagged already"
grep -q "^## ${version#v}\b" CHANGELOG.md || die "CHANGELOG.md has no heading for ${version#v}"

module=$(GOWORK=off go list -m)
nested=$(git ls-files '*/go.mod' | sed '/^internal\//d' | xargs -r -n1 dirname) # internal ones only test

# The API against the last release, package by package.
last=$(git describe --tags --match 'v*' --abbrev=0 2> /dev/null || true)
if [ -n "$last" ]; then
  tmp=$(mktemp -d)
  trap 'git worktree remove -f "$tmp/last" > /dev/null 2>&1 || true; rm -rf "$tmp"' EXIT
  git worktree add -q "$tmp/last" "$last"
  breaks=
  for package in $(cd "$tmp/last" && GOWORK=off go list ./... | grep -v -e /internal/ -e /examples/); do
    (cd "$tmp/last" && GOWORK=off go run "$apidiff" -w "$tmp/export" "$package")
    found=$(GOWORK=off go run "$apidiff" -incompatible "$tmp/export" "$package") # exits with 0 even so
    [ -z "$found" ] || breaks+="$package"$'\n'"$found"$'\n'
  done
  if [ -n "$breaks" ]; then
    echo "$breaks"
    [ "${ALLOW_BREAKING:-}" = 1 ] || die "the API has changed incompatibly since $last"
  fi
fi

for dir in $nested; do
  for ours in $(scripts/required.sh "$dir" "$module"); do
    (cd "$dir" && go mod edit -require="$ours@$version")
  done
done
make test
git diff --quiet || git commit -qam "Require $version in the nested modules"
for dir in $nested; do
  for ours in $(scripts/required.sh "$dir" "$module"); do
    (cd "$dir" && GOWORK=off go list -m -f '{{.Version}}' "$ours" | grep -qx "$version") || die "$dir does not require $ours $version"
  done
done
scripts/consumer-check.sh

tags=$version
for dir in $nested; do tags+=" $dir/$version"; done
for tag in $tags; do git tag -a "$tag" -m "$tag"; done
echo "tagged: $tags"
echo "now: git push origin main $tags"
