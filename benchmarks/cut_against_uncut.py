"""Why the cut: time and peak memory of a model as PaddleX runs it, as plain ONNX, and as maskserve serves it.

Example: `python benchmarks/cut_against_uncut.py PADDLE_DIR [PADDLE_DIR ...] --photo street.jpg`

Every row is a process of its own (so that peak memory is its own), all in one run, one after the other; a row's time
goes from decoded pixels to instances (the uncut ONNX row leaves PaddleX's cropping out, in its favour). The uncut
models need far more memory than they are given for large photos, which is then said in the row.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

WAYS = {
    "paddle": "Paddle Inference, uncut (as PaddleX)",
    "onnx": "ONNX Runtime, uncut",
    "core-onnxruntime": "maskserve on ONNX Runtime",
    "core-openvino": "maskserve on OpenVINO",
    "core-openvino-bf16": "maskserve on OpenVINO, bf16",
}
MEMORY_LIMIT = 16 << 30
SIZES = ((640, 480), (4000, 3000))


def measure(way: str, folder: Path, photo: Path, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """One row: seconds of each run, instances found, peak memory in bytes; runs in its own process."""
    import cv2

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    image = cv2.resize(cv2.imread(str(photo)), size)
    run = _uncut_paddle(folder) if way == "paddle" else _core(folder, way) if "core" in way else _uncut_onnx(folder)
    found = run(image)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(image)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "found": found, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _preprocessor(folder: Path) -> Any:
    from maskserve_server.preprocess import Preprocessor
    from maskserve_tools.converting.paddle_folder import PaddleFolder

    return Preprocessor(PaddleFolder.open(folder).preprocess)


def _uncut_paddle(folder: Path) -> Callable[[Any], int]:
    from maskserve_tools.verifying.reference import open_reference

    reference = open_reference(folder)
    return lambda image: len(reference.predict(image, 0.5))


def _uncut_onnx(folder: Path) -> Callable[[Any], int]:
    import onnxruntime

    from maskserve_tools.converting.onnx_export import export
    from maskserve_tools.converting.paddle_folder import PaddleFolder

    source = PaddleFolder.open(folder)
    with TemporaryDirectory() as scratch:
        export(source.program, source.weights, Path(scratch) / "uncut.onnx")
        session = onnxruntime.InferenceSession(str(Path(scratch) / "uncut.onnx"), providers=["CPUExecutionProvider"])
    names, prepare = [item.name for item in session.get_inputs()], _preprocessor(folder)

    def run(image: Any) -> int:
        prepared = prepare(image)
        rows, *_ = session.run(None, {name: getattr(prepared, name) for name in names})
        return int((rows[:, 1] > 0.5).sum())

    return run


def _core(folder: Path, way: str) -> Callable[[Any], int]:
    from maskserve_server.families import Selection, load_family
    from maskserve_server.postprocess import postprocess
    from maskserve_server.spec import ModelSpec
    from maskserve_server.stages import Core, feeds
    from maskserve_tools import convert

    scratch = TemporaryDirectory()
    _, engine_name, precision = (*way.split("-"), "fp32")[:3]
    convert(folder, repository=scratch.name, name="model", engine=engine_name, precision=precision, layout="single")
    directory = Path(scratch.name) / "model" / "1"
    spec = ModelSpec.read(directory)
    core, family = Core(spec, directory, threads=2), load_family(spec.family, spec.settings)
    scratch.cleanup()
    prepare = _preprocessor(folder)

    def run(image: Any) -> int:
        prepared = prepare(image)
        answer = postprocess(family, core(feeds(prepared)), prepared.scale_factor[0], prepared.size, Selection(0.5))
        return len(answer.scores)

    return run


def _row(way: str, folder: Path, photo: Path, size: tuple[int, int], repeats: int) -> tuple[str, float | None]:
    """The row's text and its median in seconds."""
    command = [sys.executable, "-W", "ignore", __file__, str(folder), "--photo", str(photo), "--repeats", str(repeats)]
    command += ["--row", way, f"{size[0]}x{size[1]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"| {WAYS[way]} | fails: {_why(done)} | | |", None
    measured = json.loads(done.stdout.splitlines()[-1])
    median = statistics.median(measured["seconds"])
    return f"| {WAYS[way]} | {median * 1000:,.0f} | {measured['bytes'] / 1e9:.2f} | {measured['found']} |", median


def _why(done: subprocess.CompletedProcess[str]) -> str:
    output = done.stdout + done.stderr
    memory = ("alloc", "memory", "Memory", "SIGKILL")
    return f"out of memory ({MEMORY_LIMIT >> 30} GB)" if any(word in output for word in memory) else output[-100:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, required=True, help="stretched to 640x480 and to 4000x3000")
    parser.add_argument("--repeats", type=int, default=5, help="runs behind each median (default: %(default)s)")
    parser.add_argument("--row", nargs=2, metavar=("WAY", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        way, text = arguments.row
        width, height = map(int, text.split("x"))
        print(json.dumps(measure(way, arguments.folders[0], arguments.photo, (width, height), arguments.repeats)))
        return
    for folder in arguments.folders:
        for size in SIZES:
            print(f"\n**{folder.name}, {size[0]}x{size[1]}**\n")
            print("| | ms (median) | peak GB | instances | |\n|---|---:|---:|---:|---:|")
            baseline = None
            for way in WAYS:
                row, median = _row(way, folder, arguments.photo, size, arguments.repeats)
                baseline = median if way == "paddle" else baseline
                times = f" {baseline / median:.1f}x |" if baseline and median else " |"
                print(row + times, flush=True)


if __name__ == "__main__":
    main()
