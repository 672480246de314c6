#!/usr/bin/env bash
# Run NVIDIA's perf_analyzer, fetched from PyPI the first time:
#
#   maskserve perf-data photos/ --output perf.json
#   examples/kserve/perf_analyzer.sh -m Mask-RT-DETR-S -i grpc -u localhost:8001 --input-data perf.json \
#       --concurrency-range 1:4
#
# The wheel of tritonclient 2.51.0 carries the last build that runs on glibc 2.34 (Debian 12, Ubuntu 22.04). It needs
# libb64 and libcudart (never used on a CPU), which nvidia-pytriton, the embedded server, has among its own libraries.
# `perf_analyzer.sh --get` prints where a perf_analyzer is that can be run from anywhere.
set -euo pipefail

python=${PYTHON:-python3}
folder=${XDG_CACHE_HOME:-$HOME/.cache}/maskserve/perf_analyzer-2.51.0

fetch() {
    local scratch libraries
    libraries=$("$python" -c '
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("pytriton")
if spec is None:
    sys.exit("perf_analyzer.sh: this needs the libraries of the embedded server: pip install maskserve[embedded]")
print(pathlib.Path(spec.origin).parents[1] / "nvidia_pytriton.libs")')
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' RETURN
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux1_x86_64 \
        --dest "$scratch" tritonclient==2.51.0
    mkdir -p "$folder"
    "$python" -c '
import pathlib, sys, zipfile
wheel, target = next(pathlib.Path(sys.argv[1]).glob("*.whl")), pathlib.Path(sys.argv[2])
binary = zipfile.ZipFile(wheel).read("tritonclient-2.51.0.data/data/bin/perf_analyzer")
(target / "perf_analyzer.bin").write_bytes(binary)' "$scratch" "$folder"
    chmod +x "$folder/perf_analyzer.bin"
    ln -sf "$libraries"/libb64-*.so.0d "$folder/libb64.so.0d"
    ln -sf "$libraries"/libcudart-*.so.12* "$folder/libcudart.so.12"
    cat >"$folder/perf_analyzer" <<'RUN'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$here/perf_analyzer.bin" "$@"
RUN
    chmod +x "$folder/perf_analyzer"
}

# A link into an environment that is gone counts as missing.
if [[ ! -x $folder/perf_analyzer || ! -e $folder/libb64.so.0d || ! -e $folder/libcudart.so.12 ]]; then fetch; fi
if [[ ${1:-} == --get ]]; then
    echo "$folder/perf_analyzer"
else
    exec "$folder/perf_analyzer" "$@"
fi
