"""Why the cut: time and peak memory of models as PaddleX runs them, as plain ONNX, and as maskserve serves them.

Examples:
    python benchmarks/cut_against_uncut.py PADDLE_DIR [PADDLE_DIR ...] --photo street.jpg
    python benchmarks/cut_against_uncut.py PADDLE_DIR --photo street.jpg --size 4000x3000 --ways onnxruntime openvino
    python benchmarks/cut_against_uncut.py PADDLE_DIR --photo street.jpg --paddlex ENVIRONMENT/bin/python
    python benchmarks/cut_against_uncut.py PADDLE_DIR --photo street.jpg --calibration PHOTOS --keep CORES

Every row is a process of its own, so that peak memory is its own. All rows of a model are loaded, answer once, and then
take turns, round after round, a second or one image each: other users of the machine disturb all of them alike. Times
go from decoded pixels to instances (the uncut ONNX row leaves PaddleX's cropping out, in its favour), the conversion is
not in them; ratios are the median of those of a round. PaddleX runs in an environment of its own, such as
`peers/gateway_against_paddlex.py` makes, and with its default of 10 threads; the other rows have two. The uncut models
need far more memory than they are given for large images, which is then said in the row.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from turns import ANSWER

INT8 = "openvino-int8"
WAYS = {
    "paddlex": "PaddleX, uncut",
    "paddle": "Paddle Inference, uncut",
    "uncut-onnx": "ONNX Runtime, uncut",
    "onnxruntime": "maskserve on ONNX Runtime",
    "openvino": "maskserve on OpenVINO",
    "openvino-bf16": "maskserve on OpenVINO, bf16",
    INT8: "maskserve on OpenVINO, int8",
}
BASELINES = ("paddlex", "paddle")
HEADER = """\
| | | ms (best) | ms (median) | peak GB | instances | against PaddleX | against Paddle |
|---|---|---:|---:|---:|---:|---:|---:|"""
_MEMORY = 16 << 30  # for a row, at most
_PAUSE = 0.3  # seconds for which some libraries' threads go on spinning after a run


class Row:
    """A way that is loaded and takes turns.

    Attributes:
        seconds: of each turn.
        why: why it takes none, in a few words.
    """

    def __init__(self, way: str, folder: Path, target: str, arguments: argparse.Namespace) -> None:
        self.seconds: list[float] = []
        self.why = ""
        self._limit = min(_MEMORY, int(0.8 * _available_memory()))
        self._log = Path(target, f"{way}.log")
        here, image = Path(__file__).parent, [arguments.photo, arguments.size]
        calibration = [arguments.calibration] if way == INT8 and arguments.calibration else []
        command = [sys.executable, "-W", "ignore", here / "cut_ways.py", way, folder, target, *image, *calibration]
        if way == "paddlex":
            command = [arguments.paddlex, "-W", "ignore", here / "peers" / "paddlex_model.py", folder, *image]
        pipe = subprocess.PIPE
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                list(map(str, command)), stdin=pipe, stdout=pipe, stderr=log, text=True, encoding="utf-8"
            )
        resource.prlimit(self._process.pid, resource.RLIMIT_AS, (self._limit, self._limit))
        self._read()

    def turn(self) -> None:
        """Let it run for a second, or once."""
        if not self.why:
            assert self._process.stdin
            time.sleep(_PAUSE)
            print(file=self._process.stdin, flush=True)
            self.seconds.append(self._read()["seconds"])

    def end(self) -> Mapping[str, Any]:
        """Return its last answer: instances found, and peak memory in bytes."""
        self._process.communicate()
        return self._answer

    def _read(self) -> Mapping[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                self._answer: Mapping[str, Any] = json.loads(line)
                return self._answer
        self.why = self._reason()
        return {"seconds": float("inf")}

    def _reason(self) -> str:
        self._process.wait()
        said = self._log.read_text(errors="replace", encoding="utf-8").strip()
        if any(word in said for word in ("alloc", "memory", "Memory", "SIGKILL")) or self._process.returncode == -9:
            return f"out of memory ({self._limit / 2**30:.0f} GB)"
        return (said.splitlines() or ["no reason given"])[-1][:100]


def _available_memory() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def _target(keep: Path | None, name: str) -> AbstractContextManager[str]:
    if keep is None:
        return TemporaryDirectory()
    (keep / name).mkdir(parents=True, exist_ok=True)
    return nullcontext(str(keep / name))


def _measure(folder: Path, ways: Sequence[str], target: str, arguments: argparse.Namespace) -> dict[str, Row]:
    rows = {way: Row(way, folder, target, arguments) for way in ways}
    for _ in range(arguments.rounds):
        for row in rows.values():
            row.turn()
    return rows


def _text(name: str, way: str, rows: Mapping[str, Row]) -> str:
    row = rows[way]
    if row.why:
        return f"| {name} | {WAYS[way]} | fails: {row.why} | | | | | |"
    last = row.end()
    best, median = min(row.seconds), statistics.median(row.seconds)
    cells = f"{best * 1000:,.0f} | {median * 1000:,.0f} | {last['bytes'] / 1e9:.2f} | {last['found']}"
    return f"| {name} | {WAYS[way]} | {cells} | {' | '.join(_ratio(rows.get(other), row) for other in BASELINES)} |"


def _ratio(baseline: Row | None, row: Row) -> str:
    if baseline is None or baseline.why:
        return ""
    return f"{statistics.median(b / s for b, s in zip(baseline.seconds, row.seconds, strict=True)):.1f}x"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, required=True, help="stretched to --size")
    parser.add_argument("--size", default="640x480", help="width x height (default: %(default)s)")
    parser.add_argument("--paddlex", type=Path, metavar="PYTHON", help="of an environment that has PaddleX")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="which rows (default: all that can be had)")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="images for the row with int8")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what is converted here, for another run")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each row (default: %(default)s)")
    arguments = parser.parse_args()
    if "paddlex" in (arguments.ways or ()) and not arguments.paddlex:
        parser.error("the row `paddlex` needs --paddlex, the Python of an environment that has PaddleX")
    print(f"{arguments.photo.name}, {arguments.size}\n\n{HEADER}", flush=True)
    needed = {"paddlex": arguments.paddlex, INT8: arguments.calibration}
    ways = arguments.ways or [way for way in WAYS if needed.get(way, True)]
    for folder in arguments.folders:
        with _target(arguments.keep, folder.name) as target:
            rows = _measure(folder, ways, target, arguments)
            for way in ways:
                print(_text(folder.name, way, rows), flush=True)


if __name__ == "__main__":
    main()
