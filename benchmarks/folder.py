"""A directory of images through `predict` in this process, beside the bare core: images a second.

    python -m benchmarks.folder PADDLE_DIR ... --photos DIR [--images N] [--turns N]

Both are processes of their own, loaded once, which take turns. The bare core computes as many images as the directory
has, on prepared arrays, the best way that it can: one after the other with all cores, or one on each core. `predict`
opens the files, decodes, prepares, computes, and gives results with masks. Its share is that of the better bare core in
the same turn; there are all turns, and their median. *Possible* is the share that is left where nothing is done but the
core, decoding, preparing and painting: what the core takes of their processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maskserve.decoding.decoders import OwnProcess
from maskserve_local.sources import open_source
from maskserve_server.stages import Core, Postprocess, Preprocess
from maskserve_tools import convert
from maskserve_tools.tune.tuning import cpu_name

_PAUSE = 0.3  # seconds for which some libraries' threads go on spinning after a run
PREDICT, PIXELS = "predict", "pixels"
_SUFFIXES = (".jpg", ".jpeg", ".png")


def _bare(entry: Path, photos: Path, at_once: int) -> Callable[[], int]:
    """Return runs of the core for all photos, `at_once` at the same time."""
    from benchmarks.ways import bare_core

    files = sorted(photos.iterdir())
    photo = files[0].read_bytes()
    ask: Any = bare_core(entry, photo, threads=(os.cpu_count() or 1) // at_once, streams=at_once)
    pool = ThreadPoolExecutor(at_once)
    return lambda: len(list(pool.map(lambda _: ask(photo), files)))


def _predict(entry: Path, photos: Path) -> Callable[[], int]:
    from maskserve import create_pipeline

    pipeline = create_pipeline(entry)
    return lambda: sum(len(result.instances) for result in pipeline.predict(photos))


def _pixels(entry: Path, photos: Path) -> Callable[[], int]:
    """Return runs of all that the stages do beside the core."""
    from benchmarks.ways import inputs

    source = open_source(entry)
    preprocess = Preprocess(source.spec, OwnProcess(source.spec.limits))
    postprocess, core = Postprocess(source.spec), Core.on(source.spec, source.load(os.cpu_count() or 1))
    requests = [inputs(file.read_bytes()) for file in sorted(photos.iterdir())]
    answers = []
    for request in requests:
        prepared = {**request, **preprocess(request)}
        answers.append({**prepared, **{name: array.copy() for name, array in core(prepared).items()}})

    def run() -> int:
        for request, answer in zip(requests, answers, strict=True):
            preprocess(request)
            postprocess(answer)
        return len(requests)

    return run


@dataclass(frozen=True, slots=True)
class _Turn:
    """One turn of a row: seconds, seconds of processor time, and what was found."""

    wall: float
    cpu: float
    found: int


def _take_turns(run: Callable[[], int]) -> None:
    """Run once, then for each line on standard input; say how long it took and what was found."""
    run()
    print(json.dumps([0.0, 0.0, 0]), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = run()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, found]), flush=True)


class _Row:
    """A process that takes turns."""

    def __init__(self, way: str, entry: Path, photos: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.folder", "--row", way, str(entry), "--photos", str(photos)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        self._answer()

    def turn(self) -> _Turn:
        assert self._process.stdin is not None
        time.sleep(_PAUSE)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _answer(self) -> _Turn:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("["):
                return _Turn(*json.loads(line))
        raise SystemExit("a row ended before its answer; what it wrote is above")


def _line(paddle: Path, photos: Path, scratch: Path, turns: int) -> str:
    """Return a model's line of the table."""
    convert(paddle, repository=scratch, name=paddle.name, layout="single")
    ways = [PREDICT, "1", str(os.cpu_count() or 1), PIXELS]
    rows = [_Row(way, scratch / paddle.name, photos) for way in ways]
    count, shares, possible, rates, found = len(list(photos.iterdir())), list[float](), list[float](), [], 0
    for _ in range(turns):
        own, *cores, pixels = (row.turn() for row in rows)
        best, found = min(cores, key=lambda core: core.wall), own.found
        shares.append(100 * best.wall / own.wall)
        possible.append(100 * best.cpu / (best.cpu + pixels.cpu))
        rates.append([count / turn.wall for turn in (own, *cores)])
    for row in rows:
        row.close()
    each = " | ".join(f"{statistics.median(column):.2f}/s" for column in zip(*rates, strict=True))
    spread = f"{', '.join(f'{share:.0f}' for share in shares)} | {statistics.median(shares):.0f} %"
    return f"| {paddle.name} | {found / count:.1f} | {each} | {spread} | {statistics.median(possible):.0f} % |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="PADDLE_DIR")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        (entry,) = args.models
        makers = {PREDICT: _predict, PIXELS: _pixels}
        make = makers.get(args.row) or partial(_bare, at_once=int(args.row))
        _take_turns(make(entry, args.photos))
        return
    with TemporaryDirectory() as name:
        photos = Path(name, "photos")
        photos.mkdir()
        for file in sorted(p for p in args.photos.iterdir() if p.suffix.lower() in _SUFFIXES)[: args.images]:
            shutil.copy(file, photos)
        print(f"{len(list(photos.iterdir()))} images, {os.cpu_count()} CPUs, {cpu_name()}\n")
        columns = "model | instances an image | predict | core, all threads | core, one a thread | shares, % | median"
        print(f"| {columns} | possible |\n|---|---:|---:|---:|---:|---|---:|---:|")
        for model in args.models:
            print(_line(model, photos, Path(name, "models"), args.turns), flush=True)


if __name__ == "__main__":
    main()
