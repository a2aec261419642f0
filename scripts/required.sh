#!/bin/sh
# Prints the modules of this repository that the one in a folder requires:
# required.sh FOLDER MODULE, the latter the root's.
set -eu
sed -n "s#^[[:space:]]*\(require \)\{0,1\}\($2[^ ]*\) v.*#\2#p" "$1/go.mod" | sort -u
