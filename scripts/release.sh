#!/usr/bin/env bash
# Makes a release of all modules at one version: release.sh v0.2.0
#
# It checks that the tree is clean, that the changelog has the version, and that
# the API is compatible with the last release (set ALLOW_BREAKING=1 if the
# changelog says that it is not). It sets the version that the nested modules
# require of each other, runs make test, commits and tags. It pushes nothing: it
# prints the command that does.
set -euo pipefail
version=${1:?which version, for example v0.2.0}
apidiff=golang.org/x/exp/cmd/apidiff@v0.0.0-20261014143641-f0251eb4aa3e
cd "$(dirname "$0")/.."
die() { echo "release: $*" >&2; exit 1; }

[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "$version is not a version like v0.2.0"
[ -z "$(git status --porcelain)" ] || die "the tree is not clean"
! git rev-parse -q --verify "refs/tags/$version" > /dev/null || die "$version is tagged already"
grep -q "^## ${version#v}\b" CHANGELOG.md || die "CHANGELOG.md has no heading for ${version#v}"

nested=$(git ls-files '*/go.mod' | grep -v '^internal/' | xargs -n1 dirname)
last=$(git describe --tags --match 'v*' --abbrev=0 2> /dev/null || true)
if [ -n "$last" ]; then
  tmp=$(mktemp -d)
  trap 'git worktree remove -f "$tmp/last" > /dev/null 2>&1 || true; rm -rf "$tmp"' EXIT
  git worktree add -q "$tmp/last" "$last"
  breaks=
  for package in $(cd "$tmp/last" && go list work | grep -v -e /internal/ -e /examples/); do
    (cd "$tmp/last" && go run "$apidiff" -w "$tmp/export" "$package")
    found=$(go run "$apidiff" -incompatible "$tmp/export" "$package") # exits with 0 even so
    [ -z "$found" ] || breaks+="$package"$'\n'"$found"$'\n'
  done
  if [ -n "$breaks" ]; then
    echo "$breaks"
    [ "${ALLOW_BREAKING:-}" = 1 ] || die "the API has changed incompatibly since $last"
  fi
fi

scripts/set-version.sh "$version"
make test # with the consumer check
[ -z "$(git status --porcelain)" ] || git commit -qam "all: require $version"

tags=$version
for dir in $nested; do tags+=" $dir/$version"; done
for tag in $tags; do git tag -a "$tag" -m "$tag"; done
echo "tagged: $tags"
echo "now: git push origin main $tags"
