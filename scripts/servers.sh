#!/usr/bin/env bash
# Installs the servers and programs that the tests use, where they are missing,
# on a system with apt-get. It starts nothing: the tests start what they need, or
# use what listens on the default ports.
set -euo pipefail

missing=()
need() { # a package, then one of its files in the places where it can be
  local package=$1 path
  shift
  for path in "$@"; do
    ! compgen -G "$path" > /dev/null || return 0
  done
  missing+=("$package")
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
need chromium-headless-shell /usr/bin/chromium-headless-shell /usr/bin/google-chrome # the second is slower
need fonts-noto-core /usr/share/fonts/truetype/noto/NotoSansArabic-Regular.ttf
need fonts-droid-fallback /usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf # Chinese, Japanese, Korean
if [ -n "${OTP_TEST_NIGHTLY:-}" ]; then
  need webkit2gtk-driver /usr/bin/WebKitWebDriver
  need xvfb /usr/bin/Xvfb
fi
need npm /usr/bin/npm /usr/local/bin/npm # fetches axe-core
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
if ! command -v apt-get > /dev/null || [ "$(id -u)" != 0 ]; then
  echo "servers: this needs root and apt-get: install them yourself" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qqy --no-install-recommends "${missing[@]}" > /dev/null
