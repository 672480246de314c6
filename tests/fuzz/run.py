"""Decode hostile files for as long as one likes, and count what they do: `make fuzz`, with MINUTES=60.

Each case is a number, from which its file follows: `python -m tests.fuzz.run --case 1234 --write FILE` makes it. The
cases run in a process of their own, which may die, through the decoders that a server uses. Exit status 1 where that
process or a decoder died, a file took longer than 5 s of processor time or more than 500 MB beside itself, or something
else was raised than an error of ours.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from maskserve.decoding.limits import Limits
from maskserve.decoding.pool import DecoderPool
from maskserve.errors import InputError
from tests.conftest import ROOT
from tests.fuzz.bombs import BOMBS
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.seeds import kinds, seeds

_SECONDS, _BYTES = 5.0, 500_000_000
_BATCH = 2000  # cases of one process
_BOMBS = 0.15  # of all cases
_UNEXPECTED = re.compile(r"the image cannot be decoded \((\w+)\)")


def make(case: int) -> tuple[str, bytes]:
    """Return the name and the file of a case."""
    random = np.random.default_rng(case)
    if random.random() < _BOMBS:
        bomb = BOMBS[random.integers(len(BOMBS))]
        return bomb.__name__, bomb(random)
    kind = kinds()[random.integers(len(kinds()))]
    files = seeds(kind)
    file = files[random.integers(len(files))]
    names = []
    for _ in range(int(random.integers(1, 4))):
        change = MUTATIONS[random.integers(len(MUTATIONS))]
        file = change(file, random) or b"\0"
        names.append(change.__name__)
    return f"{kind}: {', '.join(names)}", file


def run_cases(first: int, count: int) -> None:
    """Decode cases, and print a line for each that is worth one, and a last one with the counts."""
    pool = DecoderPool(Limits(), 2)
    counts: Counter[str] = Counter()
    slowest = largest = 0.0
    for case in range(first, first + count):
        name, file = make(case)
        print(json.dumps({"case": case}), flush=True)
        before, deaths = _processor_seconds(pool), pool.deaths
        outcome, words = _decode(pool, file)
        taken, peak = _processor_seconds(pool) - before, _peak(pool)
        died = pool.deaths > deaths
        counts["death" if died else outcome] += 1
        slowest, largest = max(slowest, taken), max(largest, peak)
        counts["over 5 s"] += taken > _SECONDS
        is_large = peak > _BYTES + len(file)
        counts["over 500 MB"] += is_large
        if died or taken > _SECONDS or is_large or outcome.startswith("unexpected"):
            about = {"file": name, "outcome": outcome, "seconds": round(taken, 2), "MB": round(peak / 1e6)}
            about["message"] = words
            print(json.dumps({"case": case, "finding": about}), flush=True)
    pool.close()
    print(json.dumps({"counts": counts, "slowest": slowest, "largest": largest}), flush=True)


def _decode(pool: DecoderPool, file: bytes) -> tuple[str, str]:
    """Return what became of a file, and the words of the error."""
    try:
        with pool.lend(file):
            return "image", ""
    except InputError as error:
        unexpected = _UNEXPECTED.search(error.message)
        return f"unexpected {unexpected[1]}" if unexpected else type(error).__name__, error.message
    except Exception as error:
        return f"unexpected {type(error).__name__}", str(error)


def _processor_seconds(pool: DecoderPool) -> float:
    """Return the seconds that the decoders that are ready have taken so far; those that start do not count."""
    total = 0.0
    for process in list(pool._idle.queue):
        total += sum(psutil.Process(process.pid).cpu_times()[:2])
    return total


def _peak(pool: DecoderPool) -> int:
    """Return the most memory that a decoder had since the last call, in bytes."""
    most = 0
    for pid in pool.pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            most = max(
                most, *(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
            )
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            continue
    return most


class Totals:
    """What all processes have counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.deaths = self.cases = 0
        self.slowest = self.largest = 0.0
        self.findings: list[str] = []

    def run(self, first: int, count: int) -> None:
        """Run cases in a process; where it dies, the case is counted, and the next ones get another one."""
        while count > 0:
            command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.run", "--batch", str(first), str(count)]
            last = first
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
            ) as child:
                assert child.stdout
                for line in child.stdout:
                    last = self._read(json.loads(line), last)
            if child.returncode == 0:
                self.cases += count
                return
            self.deaths += 1
            self.findings.append(f"case {last}: the process that gave it to a decoder ended ({child.returncode})")
            self.cases += last - first + 1
            first, count = last + 1, count - (last - first + 1)

    def _read(self, line: dict[str, Any], last: int) -> int:
        if "counts" in line:
            self.counts.update(line["counts"])
            self.slowest = max(self.slowest, line["slowest"])
            self.largest = max(self.largest, line["largest"])
            return last
        if "finding" in line:
            self.findings.append(f"case {line['case']}: {line['finding']}")
        return int(line["case"])

    @property
    def failed(self) -> bool:
        """Whether something happened that may not."""
        bad = sum(number for name, number in self.counts.items() if name.startswith(("death", "over", "unexpected")))
        return bool(bad or self.deaths)

    def table(self) -> str:
        """Return the counts as lines of a table."""
        rows = [
            ("cases", self.cases),
            ("an image came of it", self.counts["image"]),
            ("refused: invalid_image", self.counts["InvalidImage"]),
            ("refused: unsupported_format", self.counts["UnsupportedFormat"]),
            ("refused: image_too_large", self.counts["ImageTooLarge"]),
            ("other errors", sum(n for name, n in self.counts.items() if name.startswith("unexpected"))),
            ("decoders that died or were ended (each refused as invalid_image)", self.counts["death"]),
            ("servers that died", self.deaths),
            ("over 5 s of processor time", self.counts["over 5 s"]),
            ("over 500 MB", self.counts["over 500 MB"]),
            ("slowest, s", f"{self.slowest:.2f}"),
            ("largest decoder, MB", f"{self.largest / 1e6:.0f}"),
        ]
        return "\n".join(f"| {name} | {value} |" for name, value in rows)


def main() -> int:
    """Run cases until the time is over or there are enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=sys.maxsize, help="at most so many")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="make this one")
    parser.add_argument("--write", type=Path, help="where --case is written")
    parser.add_argument("--batch", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.batch:
        run_cases(*arguments.batch)
        return 0
    if arguments.case is not None:
        name, file = make(arguments.case)
        print(f"{name}, {len(file)} bytes")
        if arguments.write:
            arguments.write.write_bytes(file)
        return 0
    totals, end = Totals(), time.monotonic() + 60 * arguments.minutes
    while totals.cases < arguments.cases and time.monotonic() < end:
        shown = len(totals.findings)
        totals.run(arguments.first + totals.cases, min(_BATCH, arguments.cases - totals.cases))
        print("\n".join([*totals.findings[shown:], totals.table()]), flush=True)
    return int(totals.failed)


if __name__ == "__main__":
    sys.exit(main())
