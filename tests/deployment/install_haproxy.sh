#!/bin/sh
# HAProxy for the tests of its configuration, from Debian's packages. Where it cannot be had, this says so and is content:
# those tests are skipped then.
set -eu

if command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "HAProxy is not here and cannot be installed (that needs root and apt-get): it is not tested"
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy >/dev/null ||
    echo "HAProxy cannot be installed: it is not tested"
