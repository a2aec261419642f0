#!/usr/bin/env bash
# Makes the nested modules require each other, and go.work replace, at one
# version: set-version.sh v0.2.0
set -euo pipefail
version=${1:?which version, for example v0.2.0}
cd "$(dirname "$0")/.."
module=$(GOWORK=off go list -m)
for file in go.work $(git ls-files '*/go.mod'); do
  sed -E "s#^([[:space:]]*(require |replace )?$module(/[^ ]+)?) v[^ ]+#\1 $version#" "$file" > "$file.new"
  mv "$file.new" "$file"
done
