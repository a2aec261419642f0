#!/bin/sh
# Installs the servers and programs that tests run against, where they are
# missing, on a Debian-like system. Nothing is started: the tests do that, or use
# what runs on the default ports.
set -eu

missing=
need() { # package, then where one of its files can be
	package=$1
	shift
	for path in "$@"; do
		for found in $path; do # a pattern
			if [ -e "$found" ]; then return; fi
		done
	done
	missing="$missing $package"
}
need redis-server /usr/bin/redis-server /usr/local/bin/redis-server
need redis-tools /usr/bin/redis-cli /usr/local/bin/redis-cli
need postgresql '/usr/lib/postgresql/*/bin/postgres'
need mariadb-server /usr/sbin/mariadbd
need postfix /usr/sbin/postfix
need sasl2-bin /usr/sbin/saslpasswd2
need libsasl2-modules '/usr/lib/*/sasl2/libplain.so'
need python3-aiosmtpd /usr/lib/python3/dist-packages/aiosmtpd
need python3-dkim /usr/lib/python3/dist-packages/dkim
need python3-nacl /usr/lib/python3/dist-packages/nacl
need libfribidi-bin /usr/bin/fribidi
need chromium /usr/bin/chromium
need fonts-noto-core /usr/share/fonts/truetype/noto/NotoSansArabic-Regular.ttf
need fonts-droid-fallback /usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf # Chinese, Japanese, Korean
need npm /usr/bin/npm /usr/local/bin/npm # fetches axe-core
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
