"""A model as a bare core, in this process, on embedded servers, and in PaddleX: images a second, start, memory.

    python -m benchmarks.in_process PADDLE_DIR ... [--paddlex PYTHON] [--photo FILE] [--seconds S] [--turns N]

The ways take turns in one run, so that a busy machine disturbs all alike. Each figure is the median of the turns.
"start" is the time until the first answer, of a model that was converted before. "CPU ms" is the processor time of this
process for an image with four callers. PaddleX (in the environment of that Python) answers one caller at a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from benchmarks.ways import BARE, ENSEMBLE, IN_PROCESS, SINGLE, Ask, Served, bare_core

from maskserve import create_pipeline
from maskserve_local.cpus import thread_count
from maskserve_tools import convert
from maskserve_tools.tune.load import Turn, take_turn
from maskserve_tools.tune.tuning import cpu_name

_CALLERS = (1, 4)
_PEER = Path(__file__).parent / "peers" / "paddlex_model.py"
PADDLEX = "PaddleX, in its process"


class PaddleX:
    """A process with PaddleX, which takes turns of a second or one image."""

    def __init__(self, python: Path, folder: Path, photo: Path) -> None:
        height, width = cv2.imread(str(photo)).shape[:2]
        command = [python, "-W", "ignore", _PEER, folder, photo, f"{width}x{height}"]
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.answer()
        self.start = time.perf_counter() - began
        self.memory = 0.0

    def turn(self) -> float:
        """Return images a second."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return 1.0 / self.answer()

    def answer(self) -> float:
        """Return the seconds of an image in the next answer; lines of the libraries are passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"seconds"'):
                found = json.loads(line)
                self.memory = float(found["bytes"])
                return float(found["seconds"])
        raise ChildProcessError("PaddleX ended, see above: it runs models of its own names only")

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="PADDLE_DIR")
    parser.add_argument("--paddlex", type=Path, metavar="PYTHON", help="of an environment with PaddleX")
    parser.add_argument("--photo", type=Path, default=Path("demo/photos/astronaut.jpg"))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    for folder in args.folders:
        _measure(folder, args)


def _peer(args: argparse.Namespace, folder: Path) -> PaddleX | None:
    if args.paddlex is None:
        return None
    try:
        return PaddleX(args.paddlex, folder, args.photo)
    except ChildProcessError as error:
        print(f"{error}; the table goes without it\n")
        return None


def _measure(folder: Path, args: argparse.Namespace) -> None:
    image, starts = args.photo.read_bytes(), dict[str, float]()
    found: dict[tuple[str, int], list[Turn]] = {}
    theirs: list[float] = []
    peer = None
    with TemporaryDirectory() as scratch:
        repository = Path(scratch) / "models"
        names = {
            way: convert(folder, repository=repository, name=name, layout=name).name
            for way, name in ((SINGLE, "single"), (ENSEMBLE, "ensemble"))
        }
        entry = repository / names[SINGLE]
        began = time.perf_counter()
        local = create_pipeline(entry).segment
        local(image)
        starts[IN_PROCESS] = time.perf_counter() - began
        for way in names:
            began = time.perf_counter()
            with Served(repository, *(name if other == way else None for other, name in names.items())) as asks:
                asks[way](image)
                starts[way] = time.perf_counter() - began
        with Served(repository, names[SINGLE], names[ENSEMBLE]) as served:
            peer = _peer(args, folder)
            ways: dict[str, Ask] = {BARE: bare_core(entry, image), IN_PROCESS: local, **served}
            for ask in ways.values():  # callers that meet, until the core is loaded for several
                take_turn(ask, [image], clients=4, seconds=2.0)
            for _ in range(args.turns):
                for callers in _CALLERS:
                    for way, ask in ways.items():
                        turn = take_turn(ask, [image], clients=callers, seconds=args.seconds, cpu=time.process_time)
                        found.setdefault((way, callers), []).append(turn)
                if peer is not None:
                    theirs.append(peer.turn())
    print(f"**{folder.name}**, {args.photo.name}, {thread_count()} CPUs, {cpu_name()}\n")
    print("| | 1 caller | 4 callers | CPU ms | start |\n|---|---:|---:|---:|---:|")
    for way in (BARE, IN_PROCESS, SINGLE, ENSEMBLE):
        one, four = (statistics.median(turn.rate for turn in found[way, callers]) for callers in _CALLERS)
        cpu = statistics.median(turn.cpu_per_image for turn in found[way, 4]) * 1e3
        own = f"{cpu:.1f}" if way in (BARE, IN_PROCESS) else ""  # a server's processes are not this one
        start = f"{starts[way]:.1f} s" if way in starts else ""
        print(f"| {way} | {one:.2f}/s | {four:.2f}/s | {own} | {start} |")
    if peer is not None:
        print(f"| {PADDLEX} | {statistics.median(theirs):.2f}/s | | | {peer.start:.1f} s |")
        print(f"\npeak memory of PaddleX's process: {peer.memory / 1e6:.0f} MB", end="")
        peer.stop()
    print(f"\npeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB\n")


if __name__ == "__main__":
    main()
