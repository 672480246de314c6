"""`maskserve models`: the official models and what is known of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskserve_convert.catalogue import OfficialModel

_NOTES = """\
Mask AP: COCO 2017 val. GPU: Tesla T4. CPU: Xeon Gold 5117, 8 threads. FP32, Paddle's own times as PaddleX publishes \
them.
Engines: the recommended one first; `convert --engine auto` tries them in this order.
Get one with: maskserve fetch NAME, or at once: maskserve convert NAME"""

_HEADINGS = ("model", "family", "size MB", "mask AP", "GPU ms", "CPU ms", "engines")
_NUMBERS = slice(2, 6)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "models",
        help="list PaddleX's instance segmentation models",
        description="List PaddleX's instance segmentation models with size, accuracy, published times and engines.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list: a drawn table on a terminal, aligned text elsewhere."""
    from maskserve_convert.catalogue import CATALOGUE

    if args.json:
        print(json.dumps([_record(model) for model in CATALOGUE], indent=2))
        return 0
    rows = [_row(model) for model in CATALOGUE]
    if sys.stdout.isatty():
        _draw(rows)
    else:
        print("\n".join(_align([_HEADINGS, *rows])))
    print(f"\n{_NOTES}")
    return 0


def _record(model: OfficialModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "family": model.family.name,
        "description": model.family.description,
        "size_mb": model.size_mb,
        "mask_ap": model.mask_ap,
        "gpu_ms": model.gpu_ms,
        "cpu_ms": model.cpu_ms,
        "engines": list(model.family.engines),
        "recommended_engine": model.family.engines[0],
    }


def _row(model: OfficialModel) -> tuple[str, ...]:
    times = ("-" if time is None else f"{time:.1f}" for time in (model.gpu_ms, model.cpu_ms))
    engines = ", ".join(model.family.engines)
    return model.name, model.family.name, f"{model.size_mb:.1f}", f"{model.mask_ap:.1f}", *times, engines


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[_NUMBERS] = [cell.rjust(width) for cell, width in zip(row[_NUMBERS], widths[_NUMBERS], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _draw(rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for heading in _HEADINGS:
        number = heading in _HEADINGS[_NUMBERS]
        table.add_column(heading, justify="right" if number else "left", no_wrap=number or heading == "model")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
