"""Cores on an NVIDIA GPU: milliseconds and memory, beside PaddleX's figures for a T4.

    pip install onnxruntime-gpu     # instead of onnxruntime, with CUDA and cuDNN
    python benchmarks/gpu.py PADDLE_DIR ...

Each model is converted for `container-gpu` in fp32 and in fp16, and run on ONNX Runtime's CUDA provider: fp32 without
TF32, as maskserve runs it, with TF32, and the fp16 graph; batches of 1, 2, 4 and 8 where the core batches. The uncut
program is run with one image, where Paddle2ONNX exports it. Where there is no such GPU, a sentence says what is
missing; `--cpu` tries the script itself. It was written without a GPU, and has run with `--cpu` alone.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

from maskserve_convert.catalogue import CATALOGUE
from maskserve_convert.paddle.export import export
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_tools import convert

CUDA = "CUDAExecutionProvider"
UNCUT = "uncut.onnx"
BATCHES, ROUNDS, WARM = (1, 2, 4, 8), 20, 3


def missing() -> str:
    """Return what keeps this machine from running it, as a sentence; "" for nothing."""
    if shutil.which("nvidia-smi") is None:
        return "there is no NVIDIA GPU here, or no driver for it: nvidia-smi is not on the path"
    if CUDA not in onnxruntime.get_available_providers():
        return "this ONNX Runtime has no CUDA provider: pip uninstall onnxruntime, then pip install onnxruntime-gpu"
    return ""


def memory() -> int:
    """Return the MiB that are taken on the first GPU; 0 where there is none."""
    if shutil.which("nvidia-smi") is None:
        return 0
    query = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, encoding="utf-8", check=True).stdout.split()[0])


def measured(file: Path, *, tf32: bool, cpu: bool) -> Iterator[tuple[int, float, int]]:
    """Yield the batch, the median milliseconds and the MiB that it took."""
    before = memory()
    provider: Any = "CPUExecutionProvider" if cpu else (CUDA, {"use_tf32": str(int(tf32))})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
    if not cpu and CUDA not in session.get_providers():
        raise SystemExit("ONNX Runtime could not load its CUDA libraries: install CUDA and cuDNN of its release")
    inputs = session.get_inputs()
    batches = (1,) if isinstance(inputs[0].shape[0], int) or file.name == UNCUT else BATCHES
    for batch in batches:
        feeds = {one.name: _filled(one.name, one.shape, batch) for one in inputs}
        times = []
        for _ in range(WARM + (3 if cpu else ROUNDS)):
            begun = time.perf_counter()
            session.run(None, feeds)
            times.append(time.perf_counter() - begun)
        yield batch, 1000 * statistics.median(times[WARM:]), memory() - before


def _filled(name: str, shape: list[Any], batch: int) -> Any:
    sides = [batch, *(side if isinstance(side, int) and side > 0 else 640 for side in shape[1:])]
    value = np.random.default_rng(0).random(sides) if name == "image" else np.ones(sides)
    return (value * (640 if name == "im_shape" else 1)).astype(np.float32)


def cores(source: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield the ways to run a model and their files; what cannot be made is said on standard error."""
    for precision in ("fp32", "fp16"):
        try:
            convert(source, repository=scratch / precision, name="m", precision=precision, target="container-gpu")
            yield f"cut, {precision}", scratch / precision / "m.core" / "1" / "model.onnx"
        except Exception as error:
            print(f"cut, {precision}: {error}", file=sys.stderr)
    try:
        folder = PaddleFolder.open(source)
        export(folder.program, folder.weights, scratch / UNCUT)
        yield "uncut, fp32", scratch / UNCUT
    except Exception as error:
        print(f"uncut: {str(error)[:200]}", file=sys.stderr)


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--cpu", action="store_true", help="run it on the CPU: to try this script, not to measure")
    arguments = parser.parse_args()
    if not arguments.cpu and (reason := missing()):
        print(f"nothing is measured: {reason}")
        return 1
    known: Mapping[str, Any] = {model.name: model for model in CATALOGUE}
    print("| model | way | batch | ms | MiB | T4, PaddleX, ms |\n|---|---|---:|---:|---:|---:|")
    for source in arguments.sources:
        name = PaddleFolder.open(source).model_name
        t4 = getattr(known.get(name), "gpu_ms", "")
        with TemporaryDirectory() as scratch:
            for way, file in cores(source, Path(scratch)):
                for tf32 in (False, True) if "fp32" in way and not arguments.cpu else (False,):
                    for batch, spent, taken in measured(file, tf32=tf32, cpu=arguments.cpu):
                        shown = f"{way}, TF32" if tf32 else way
                        print(f"| {name} | {shown} | {batch} | {spent:.1f} | {taken} | {t4} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
