"""Why the cut: time and peak memory of models as PaddleX runs them, as plain ONNX, and as maskserve serves them.

Examples:
    python benchmarks/cut_against_uncut.py PADDLE_DIR [PADDLE_DIR ...] --photo street.jpg
    python benchmarks/cut_against_uncut.py PADDLE_DIR --photo street.jpg --size 4000x3000 --ways onnxruntime openvino
    python benchmarks/cut_against_uncut.py PADDLE_DIR --photo street.jpg --paddlex ENVIRONMENT/bin/python

Every row is a process of its own (so that peak memory is its own), all in one run, one after the other; a row's time
goes from decoded pixels to instances (the uncut ONNX row leaves PaddleX's cropping out, in its favour), and the
conversion is not in it. The best of a few runs is the one that other users of the machine disturbed least: the ratios
are of those. PaddleX runs in an environment of its own, such as `peers/gateway_against_paddlex.py` makes, and with its
default of 10 threads; the other rows have two. The uncut models need far more memory than they are given for large
photos, which is then said in the row.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

WAYS = {
    "paddlex": "PaddleX, uncut",
    "paddle": "Paddle Inference, uncut",
    "uncut-onnx": "ONNX Runtime, uncut",
    "onnxruntime": "maskserve on ONNX Runtime",
    "openvino": "maskserve on OpenVINO",
    "openvino-bf16": "maskserve on OpenVINO, bf16",
}
MEMORY_LIMIT = 16 << 30
BASELINES = ("paddlex", "paddle")
HEADER = """\
| | | ms (best) | ms (median) | peak GB | instances | against PaddleX | against Paddle |
|---|---|---:|---:|---:|---:|---:|---:|"""


def prepare(way: str, folder: Path, target: Path) -> None:
    """What a way runs, made from the Paddle folder; in a process of its own, as it takes memory of its own.

    The core is one ONNX file for every engine and precision.
    """
    if way == "uncut-onnx":
        from maskserve_tools.converting.onnx_export import export
        from maskserve_tools.converting.paddle_folder import PaddleFolder

        source = PaddleFolder.open(folder)
        export(source.program, source.weights, target / "uncut.onnx")
    elif way != "paddle" and not (target / "model").exists():
        from maskserve_tools import convert

        convert(folder, repository=target, name="model", engine="openvino", layout="single")


def measure(way: str, folder: Path, target: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row: seconds of each run, instances found, peak memory in bytes."""
    import cv2

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    width, height = map(int, arguments.size.split("x"))
    image = cv2.resize(cv2.imread(str(arguments.photo)), (width, height))
    uncut = {"paddle": _uncut_paddle, "uncut-onnx": _uncut_onnx}
    run = uncut[way](folder, target) if way in uncut else _served(target, *(*way.split("-"), "fp32")[:2])
    found = run(image)
    seconds = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        run(image)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "found": found, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _uncut_paddle(folder: Path, _: Path) -> Callable[[Any], int]:
    from maskserve_tools.verifying.reference import open_reference

    reference = open_reference(folder)
    return lambda image: len(reference.predict(image, 0.5))


def _uncut_onnx(folder: Path, target: Path) -> Callable[[Any], int]:
    import onnxruntime

    from maskserve_server.preprocess import Preprocessor
    from maskserve_tools.converting.paddle_folder import PaddleFolder

    session = onnxruntime.InferenceSession(str(target / "uncut.onnx"), providers=["CPUExecutionProvider"])
    names, prepare = [item.name for item in session.get_inputs()], Preprocessor(PaddleFolder.open(folder).preprocess)

    def run(image: Any) -> int:
        prepared = prepare(image)
        rows, *_ = session.run(None, {name: getattr(prepared, name) for name in names})
        return int((rows[:, 1] > 0.5).sum())

    return run


def _served(target: Path, engine: str, precision: str) -> Callable[[Any], int]:
    from maskserve_server.families import Selection, load_family
    from maskserve_server.postprocess import postprocess
    from maskserve_server.preprocess import Preprocessor
    from maskserve_server.spec import ModelSpec
    from maskserve_server.stages import Core, feeds

    directory = target / "model" / "1"
    spec = ModelSpec.read(directory)
    spec = replace(spec, core=replace(spec.core, engine=engine, precision=precision))
    core, family = Core(spec, directory, threads=2), load_family(spec.family, spec.settings)
    prepare = Preprocessor(spec.preprocess)

    def run(image: Any) -> int:
        prepared = prepare(image)
        answer = postprocess(family, core(feeds(prepared)), prepared.scale_factor[0], prepared.size, Selection(0.5))
        return len(answer.scores)

    return run


def _row(way: str, folder: Path, target: str, arguments: argparse.Namespace, best: dict[str, float]) -> str:
    """The row's text; its best time in seconds is added to `best`."""
    for command in _commands(way, folder, target, arguments):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"| {folder.name} | {WAYS[way]} | fails: {_why(done)} | | | | | |"
    measured = json.loads(done.stdout.splitlines()[-1])
    best[way], median = min(measured["seconds"]), statistics.median(measured["seconds"])
    ratios = (f"{best[other] / best[way]:.1f}x" if other in best else "" for other in BASELINES)
    cells = f"{best[way] * 1000:,.0f} | {median * 1000:,.0f} | {measured['bytes'] / 1e9:.2f} | {measured['found']}"
    return f"| {folder.name} | {WAYS[way]} | {cells} | {' | '.join(ratios)} |"


def _commands(way: str, folder: Path, target: str, arguments: argparse.Namespace) -> Iterator[list[str]]:
    """What makes a row, one after the other; the last one prints what `measure` gives."""
    if way == "paddlex":
        script = Path(__file__).parent / "peers" / "paddlex_model.py"
        run = [arguments.paddlex, "-W", "ignore", script, folder, arguments.photo, arguments.size, arguments.repeats]
        yield [str(part) for part in run]
        return
    for step in ("prepare", "measure"):
        command = [sys.executable, "-W", "ignore", __file__, str(folder), "--photo", str(arguments.photo)]
        command += ["--size", arguments.size, "--repeats", str(arguments.repeats), "--step", step, way, target]
        yield command


def _why(done: subprocess.CompletedProcess[str]) -> str:
    output = done.stdout + done.stderr
    memory = ("alloc", "memory", "Memory", "SIGKILL")
    if any(word in output for word in memory):
        return f"out of memory ({MEMORY_LIMIT >> 30} GB)"
    return output.strip().splitlines()[-1][:100]


def main() -> None:
    """Print the table, or run one step of one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, required=True, help="stretched to --size")
    parser.add_argument("--size", default="640x480", help="width x height (default: %(default)s)")
    parser.add_argument("--paddlex", type=Path, metavar="PYTHON", help="of an environment that has PaddleX")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="which rows (default: all that can be had)")
    parser.add_argument("--repeats", type=int, default=5, help="runs behind each row (default: %(default)s)")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "WAY", "TARGET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if "paddlex" in (arguments.ways or ()) and not arguments.paddlex:
        parser.error("the row `paddlex` needs --paddlex, the Python of an environment that has PaddleX")
    if arguments.step:
        step, way, target = arguments.step
        if step == "prepare":
            prepare(way, arguments.folders[0], Path(target))
        else:
            print(json.dumps(measure(way, arguments.folders[0], Path(target), arguments)))
        return
    print(f"{arguments.photo.name}, {arguments.size}\n\n{HEADER}", flush=True)
    ways = arguments.ways or [way for way in WAYS if way != "paddlex" or arguments.paddlex]
    for folder in arguments.folders:
        best: dict[str, float] = {}
        with TemporaryDirectory() as target:
            for way in ways:
                print(_row(way, folder, target, arguments, best), flush=True)


if __name__ == "__main__":
    main()
