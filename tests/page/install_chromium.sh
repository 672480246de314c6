#!/bin/sh
# Chromium and its driver for the tests of the page, from Debian's packages. Where they cannot be had, this says so and
# is content: those tests are skipped then.
set -eu

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Chromium is not here and cannot be installed (that needs root and apt-get): the page is not tested"
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null ||
    echo "Chromium cannot be installed: the page is not tested"
