"""The whole grid: `python -m tests.convert.networks.verify_grid --results DIR --output docs/models.md`.

Every family, with 1, 2, 80 and 365 classes, for one image and for any batch, of a fixed size and of any size, with and
without `trt`, `fuse_normalize` and `keep_ratio`. Paddle exports small networks of our own, they are converted, and the
answers are compared with uncut Paddle. Each outcome is kept in the directory of results, and an interrupted run goes on
where it was. The 768 cells take some ten minutes of a core.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.convert.networks.agreement import (
    DIFFERENT,
    EQUAL,
    REFUSED,
    UNANSWERED,
    UNSTEADY,
    Outcome,
    in_this_process,
    judge,
)
from tests.convert.networks.exporting import Cell

FAMILIES = ("Mask-RT-DETR", "PP-YOLOE_seg", "SOLOv2", "Mask R-CNN FPN", "Mask R-CNN C4", "Cascade Mask R-CNN")
CLASSES = (1, 2, 80, 365)
BEGIN, END = "<!-- grid: written by tests/convert/networks/verify_grid.py -->", "<!-- end of the grid -->"


class Options(NamedTuple):
    """The options of a program, in the order of `Cell`'s attributes after the family."""

    classes: int
    one_image: bool
    fixed: bool
    trt: bool
    fuse_normalize: bool


_PROGRAMS = 32  # in one process: Paddle frees little of what it makes for a program

# The server of forked processes imports what takes seconds once, and starts no threads with it.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.convert.networks.preloaded"])
_HEADING = """\
## Every export option

`make verify-grid` wrote this table. It tries every combination of these options:

- six kinds of network. They are small ones of our own, with the structure of PaddleDetection's;
- {classes} classes;
- for one image, or for any batch;
- a fixed input size, or any size;
- with and without `trt`, `fuse_normalize` and `keep_ratio`.

For each cell Paddle exports the network and `maskserve convert` converts it. Then two images go through uncut Paddle
and through the stages that the server runs. The criterion is the one above.

- **Unsteady** cells are not equal, but no further from Paddle than uncut Paddle is from itself when one pixel of the
  image changes by one level.
- **Refused** cells are refused by `convert`, with a sentence that says what does not fit. All of them have a fixed
  input size and `keep_ratio`, in a family whose program works with that size alone.
- **Not answered** cells are those on which uncut Paddle itself fails.

{judged}

| family | cells | equal | unsteady | refused | not answered by Paddle | different | instances |
|---|---:|---:|---:|---:|---:|---:|---:|
"""
_ALL = "All {whole} cells have been judged."
_SOME = "{judged} of {whole} cells have been judged."
_PAIRS = " They have every pair of values of two options."
_FIRST = 96  # cells that have all of those


def cells(families: Sequence[str] = FAMILIES) -> list[Cell]:
    """The whole grid, in an order in which the first cells have every pair of values of two options.

    Cells of one program, which differ in `keep_ratio` alone, follow each other.
    """
    flags = (False, True)
    options = [Options(*values) for values in product(CLASSES, flags, flags, flags, flags)]
    return [
        Cell(family, *values, keep_ratio=ratio)
        for values, family, ratio in product(_most_pairs_first(options), families, flags)
    ]


def _most_pairs_first(options: Sequence[Options]) -> Iterator[Options]:
    """Choose what has the most pairs of values that none before it has; once all have been, begin again."""
    left, seen = list(options), set[tuple[object, ...]]()
    while left:
        best = max(left, key=lambda values: len(_pairs(values) - seen))
        if not _pairs(best) - seen:
            seen.clear()
            continue
        seen |= _pairs(best)
        left.remove(best)
        yield best


def _pairs(values: Options) -> set[tuple[object, ...]]:
    return set(combinations(enumerate(values), 2))


def main() -> int:
    """Judge the cells that have no result, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("output/verify-grid"), metavar="DIR")
    parser.add_argument("--output", type=Path, help="the document whose table is replaced")
    parser.add_argument("--family", action="append", dest="families", choices=FAMILIES)
    parser.add_argument("--minutes", type=float, default=math.inf, help="judge no further cell after so many")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    arguments.results.mkdir(parents=True, exist_ok=True)
    wanted = cells(arguments.families or FAMILIES)
    ended = dict(_judge_missing(wanted, arguments.results, end))
    kept = {cell: _kept(cell, arguments.results) or ended.get(cell) for cell in wanted}
    outcomes = {cell: outcome for cell, outcome in kept.items() if outcome is not None}
    for cell, outcome in outcomes.items():
        print(f"{cell}: {outcome.kind}, {outcome.words[:300]}", flush=True)
    if arguments.output:
        write_table(arguments.output, outcomes)
    return int(any(outcome.kind == DIFFERENT for outcome in outcomes.values()))


def _judge_missing(wanted: Sequence[Cell], results: Path, end: float) -> Iterator[tuple[Cell, Outcome]]:
    """Judge programs in processes of many; yield those at which Paddle ended its process."""
    programs = [cell for cell in wanted if not cell.keep_ratio]
    while missing := [cell for cell in programs if not _done(cell, results)]:
        process = _CONTEXT.Process(target=_judge, args=(missing[:_PROGRAMS], results, end))
        process.start()
        process.join()
        if time.monotonic() > end:
            return
        if process.exitcode and (lost := next((cell for cell in missing if not _done(cell, results)), None)):
            programs = programs[programs.index(lost) + 1 :]
            outcome = Outcome(DIFFERENT, f"the process was ended ({process.exitcode})")
            yield from ((cell, outcome) for cell in _both(lost) if _kept(cell, results) is None)


def _both(cell: Cell) -> tuple[Cell, Cell]:
    """The cells of one program."""
    return replace(cell, keep_ratio=False), replace(cell, keep_ratio=True)


def _done(cell: Cell, results: Path) -> bool:
    return all(_kept(one, results) for one in _both(cell))


def _file(cell: Cell, results: Path) -> Path:
    return results / (re.sub(r"[^\w.-]+", "-", str(cell)) + ".json")


def _kept(cell: Cell, results: Path) -> Outcome | None:
    path = _file(cell, results)
    return Outcome(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _judge(programs: Sequence[Cell], results: Path, end: float) -> None:
    """Judge the cells of some programs, and keep the outcomes."""
    warnings.simplefilter("ignore")
    for program in programs:
        if time.monotonic() > end:
            return
        with TemporaryDirectory() as scratch, in_this_process():
            for cell in _both(program):
                outcome = judge(cell, Path(scratch))
                _file(cell, results).write_text(json.dumps(asdict(outcome), indent=2), encoding="utf-8")


def table(outcomes: Mapping[Cell, Outcome]) -> str:
    """The section of the document."""
    rows = []
    for family in FAMILIES:
        own = [outcome for cell, outcome in outcomes.items() if cell.family == family]
        kinds = Counter(outcome.kind for outcome in own)
        numbers = [int(outcome.words.split()[0]) for outcome in own if outcome.kind == EQUAL]
        counted = [len(own), *(kinds[kind] for kind in (EQUAL, UNSTEADY, REFUSED, UNANSWERED, DIFFERENT)), sum(numbers)]
        rows.append("| " + " | ".join([family, *map(str, counted)]) + " |")
    classes = ", ".join(map(str, CLASSES[:-1])) + f" and {CLASSES[-1]}"
    judged = (_ALL if len(outcomes) == len(cells()) else _SOME).format(judged=len(outcomes), whole=len(cells()))
    if len(outcomes) < len(cells()) and all(cell in outcomes for cell in cells()[:_FIRST]):
        judged += _PAIRS
    heading = _HEADING.format(classes=classes, judged=judged)
    return f"{BEGIN}\n\n{heading}" + "\n".join(rows) + f"\n\n{END}"


def write_table(document: Path, outcomes: Mapping[Cell, Outcome]) -> None:
    """Put the section in place of the one that is there, or at the document's end."""
    text = document.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if found else "\n"
    document.write_text(f"{before.rstrip()}\n\n{table(outcomes)}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
