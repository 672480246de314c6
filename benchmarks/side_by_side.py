"""A model as a bare core, in the process, on embedded servers, and in PaddleX: photos a second, start, memory.

    python -m benchmarks.side_by_side PADDLE_DIR ... [--paddlex PYTHON] [--photo FILE] [--seconds S] [--turns N]

Every row is a process of its own. All rows of a model are loaded, answer once, and then take turns, so that a busy
machine disturbs all alike. Figures are medians of the turns.

- *Of the best core* is the rate at the row's best number of callers, as a share of the best that any of the bare cores
  reached in the same turn.
- *Start* is the time from the command to the first answer, of a model that was converted and compiled before: the least
  of `--starts` processes.
- *Memory* is the peak resident memory of the row's process and all its children, added up after the turns; what they
  share counts for each.
- PaddleX runs in an environment of its own, with its default of 10 threads, and answers one caller after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from benchmarks.peers.paddlex_folder import check_same, named_for_paddlex
from benchmarks.row import BARE, IN_PROCESS, QUEUE, SERVED, STAGES
from benchmarks.turns import ANSWER

from maskserve_convert.choices import LAYOUTS
from maskserve_local.cpus import thread_count
from maskserve_server.spec import ModelSpec
from maskserve_tools import convert
from maskserve_tools.tune.tuning import cpu_name

CALLERS = (1, 4)
PADDLEX = "PaddleX, in its process"
_CORES = (*BARE, QUEUE)
_HERE = Path(__file__).parent
_PAUSE = 0.3  # seconds for which some libraries' threads go on spinning after a run


@dataclass(slots=True)
class Row:
    """A way whose process is loaded and takes turns.

    Attributes:
        way: what it is called.
        command: what starts its process.
        start: seconds to the first answer.
        turns: seconds for an image, of each turn, by the number of callers.
        latencies: of each turn of a lone caller, the median seconds.
        last: its last answer.
    """

    way: str
    command: Sequence[str]
    start: float = 0.0
    turns: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in CALLERS})
    latencies: list[float] = field(default_factory=list)
    last: Mapping[str, Any] = field(default_factory=dict)
    _process: Any = None

    def begin(self) -> None:
        """Start the process, and wait for the first answer."""
        began = time.perf_counter()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
        self._read()
        self.start = time.perf_counter() - began

    def turn(self, callers: int, seconds: float) -> None:
        """Let callers ask for some seconds."""
        time.sleep(_PAUSE)
        print(callers, seconds, file=self._process.stdin, flush=True)
        self._read()
        self.turns[callers].append(self.last["seconds"])
        if callers == 1:
            self.latencies.append(self.last["latency"])

    def memory(self) -> int:
        """Return the peak resident bytes of the process and its children."""
        process = psutil.Process(self._process.pid)
        return sum(map(_peak, (each.pid for each in (process, *process.children(recursive=True)))))

    def end(self) -> None:
        """End the process, if it was started."""
        if self._process is None:
            return
        self._process.stdin.close()
        self._process.wait(120)

    def best(self, turn: int) -> float:
        """Return the seconds for an image at the best number of callers."""
        return min(times[turn] for times in self.turns.values())

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                self.last = json.loads(line)
                return
        raise SystemExit(f"{self.way} ended, see above")


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:  # it ended just now
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def rows(folder: Path, scratch: Path, args: argparse.Namespace) -> list[Row]:
    """Convert a model in both layouts, and return its rows."""
    repository = scratch / "models"
    names = {name: convert(folder, repository=repository, name=name, layout=name).name for name in LAYOUTS}

    def ours(way: str, layout: str = "single", called: str = "") -> Row:
        words = [sys.executable, "-W", "ignore", "-m", "benchmarks.row", way, repository, names[layout], args.photo]
        return Row(called or way, list(map(str, words)))

    found = [ours(way) for way in (*_CORES, STAGES, IN_PROCESS)]
    found += [ours(SERVED, layout, f"{SERVED} server, layout {layout}") for layout in LAYOUTS]
    if args.paddlex is not None:
        family = ModelSpec.read(repository / names["single"] / "1").family
        theirs = named_for_paddlex(folder, family, scratch / "theirs")
        script = _HERE / "peers" / "paddlex_pipeline.py"
        words = [args.paddlex, "-W", "ignore", script, theirs, args.photo, scratch / "found.npz"]
        found.append(Row(PADDLEX, list(map(str, words))))
    return found


def measure(found: Sequence[Row], *, seconds: float, turns: int, starts: int) -> None:
    """Start all rows, and let them take turns."""
    for row in found:
        times = []
        for number in range(starts):
            if number:
                row.end()
            row.begin()
            times.append(row.start)
        row.start = min(times)
    for row in found:  # callers that meet, until the core is loaded for several
        row.turn(4, 2.0)
        row.turns[4].clear()
    for turn in range(turns):
        for callers in CALLERS:
            for row in found if turn % 2 == 0 else found[::-1]:
                row.turn(callers, seconds)


def table(found: Sequence[Row]) -> str:
    """Return the rows in Markdown."""
    lines = ["| | 1 caller | 4 callers | of the best core | lone photo | start | memory |", "|---|" + "---:|" * 6]
    turns = range(len(found[0].turns[1]))
    best = [min(row.best(turn) for row in found if row.way in _CORES) for turn in turns]
    for row in found:
        rates = [f"{statistics.median(1 / each for each in row.turns[count]):.2f}/s" for count in CALLERS]
        share = f"{statistics.median(best[turn] / row.best(turn) for turn in turns):.0%}"
        latency = f"{statistics.median(row.latencies) * 1e3:,.0f} ms"
        cells = [row.way, *rates, share, latency, f"{row.start:.1f} s", f"{row.memory() / 1e6:,.0f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="PADDLE_DIR")
    parser.add_argument("--paddlex", type=Path, metavar="PYTHON", help="of an environment with PaddleX")
    parser.add_argument("--photo", type=Path, default=Path("demo/photos/astronaut.jpg"))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--starts", type=int, default=2)
    args = parser.parse_args()
    for folder in args.folders:
        with TemporaryDirectory() as scratch:
            found = rows(folder, Path(scratch), args)
            try:
                measure(found, seconds=args.seconds, turns=args.turns, starts=args.starts)
                (own,) = (row for row in found if row.way == IN_PROCESS)
                print(f"**{folder.name}**, {args.photo.name}, {own.last['found']} instances, ", end="")
                print(f"{thread_count()} CPUs, {cpu_name()}\n\n{table(found)}\n")
                if args.paddlex is not None:
                    agreed = check_same(Path(scratch, "found.npz"), Path(own.command[-3], own.command[-2]), args.photo)
                    print(f"{agreed}\n")
            finally:
                for row in found:
                    row.end()


if __name__ == "__main__":
    main()
