#!/bin/sh
# Installs the servers and programs that tests run against, where they are
# missing, on a Debian-like system. Nothing is started: the tests do that, or use
# what runs on the default ports.
set -eu

missing=
need() { # package, then where one of its programs can be
	package=$1
	shift
	for path in "$@"; do
		for found in $path; do # a pattern
			if [ -x "$found" ]; then return; fi
		done
	done
	missing="$missing $package"
}
need redis-server /usr/bin/redis-server /usr/local/bin/redis-server
need redis-tools /usr/bin/redis-cli /usr/local/bin/redis-cli
need postgresql '/usr/lib/postgresql/*/bin/postgres'
need mariadb-server /usr/sbin/mariadbd
if [ -z "$missing" ]; then exit; fi

echo "installing$missing"
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
	echo "only root can, where there is apt-get: install them yourself" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qqy --no-install-recommends $missing >/dev/null
