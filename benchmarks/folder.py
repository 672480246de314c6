"""A directory of images through `predict` in this process, beside the bare core: images a second.

    python -m benchmarks.folder PADDLE_DIR ... --photos DIR [--images N] [--turns N]

Both are processes of their own, loaded once, which take turns. The bare core computes as many images as the directory
has, on prepared arrays, the best way that it can: one after the other with all cores, or one on each core. `predict`
opens the files, decodes, prepares, computes, and gives results with masks. Its share is that of the better bare core in
the same turn; the last column is the median of the turns, and the one before has them all.
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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maskserve_tools import convert
from maskserve_tools.tune.tuning import cpu_name

_PAUSE = 0.3  # seconds for which some libraries' threads go on spinning after a run
PREDICT = "predict"
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


def _take_turns(run: Callable[[], int]) -> None:
    """Run once, then for each line on standard input; say the seconds and what was found."""
    run()
    print(json.dumps([0.0, 0]), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        found = run()
        print(json.dumps([time.perf_counter() - start, found]), flush=True)


class _Row:
    """A process that takes turns."""

    def __init__(self, way: str, entry: Path, photos: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.folder", "--row", way, str(entry), "--photos", str(photos)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        self._answer()

    def turn(self) -> tuple[float, int]:
        assert self._process.stdin is not None
        time.sleep(_PAUSE)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _answer(self) -> tuple[float, int]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("["):
                seconds, found = json.loads(line)
                return seconds, found
        raise SystemExit("a row ended before its answer; what it wrote is above")


def _line(paddle: Path, photos: Path, scratch: Path, turns: int) -> str:
    """Return a model's line of the table."""
    convert(paddle, repository=scratch, name=paddle.name, layout="single")
    ways = [PREDICT, "1", str(os.cpu_count() or 1)]
    rows = [_Row(way, scratch / paddle.name, photos) for way in ways]
    count, shares, rates, found = len(list(photos.iterdir())), list[float](), list[list[float]](), 0
    for _ in range(turns):
        (own, found), *cores = [row.turn() for row in rows]
        shares.append(min(seconds for seconds, _ in cores) / own)
        rates.append([count / seconds for seconds in (own, *(seconds for seconds, _ in cores))])
    for row in rows:
        row.close()
    each = " | ".join(f"{statistics.median(column):.2f}/s" for column in zip(*rates, strict=True))
    spread = ", ".join(f"{100 * share:.0f}" for share in shares)
    return f"| {paddle.name} | {found / count:.1f} | {each} | {spread} | {100 * statistics.median(shares):.0f} % |"


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
        _take_turns(
            _predict(entry, args.photos) if args.row == PREDICT else _bare(entry, args.photos, at_once=int(args.row))
        )
        return
    with TemporaryDirectory() as name:
        photos = Path(name, "photos")
        photos.mkdir()
        for file in sorted(p for p in args.photos.iterdir() if p.suffix.lower() in _SUFFIXES)[: args.images]:
            shutil.copy(file, photos)
        print(f"{len(list(photos.iterdir()))} images, {os.cpu_count()} CPUs, {cpu_name()}\n")
        print("| model | instances an image | predict | core, all threads | core, one a thread | shares, % | median |")
        print("|---|---:|---:|---:|---:|---|---:|")
        for model in args.models:
            print(_line(model, photos, Path(name, "models"), args.turns), flush=True)


if __name__ == "__main__":
    main()
