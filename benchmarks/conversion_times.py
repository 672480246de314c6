"""Where the time of a conversion goes.

    python benchmarks/conversion_times.py PADDLE_DIR ...

Prints a row of a Markdown table for each model: seconds of processor time, children included, for each part of
`maskserve convert`. Processor time is the same on a busy machine; on a quiet one a conversion takes about as long.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from maskserve_convert import conversion, cores
from maskserve_convert.families.rcnn import build, stitch
from maskserve_convert.paddle import weights

PARTS = ("read", "weights", "Paddle2ONNX", "load", "passes", "save", "check", "write", "other", "all")
# What does the work of each part, where it is looked up.
_FUNCTIONS: dict[str, list[tuple[Any, str]]] = {
    "read": [(conversion, "_recognise")],
    "weights": [(weights, "subset")],
    "Paddle2ONNX": [(cores, "export"), (build, "export")],
    "load": [(cores, "load"), (stitch, "load"), (build, "join")],
    "passes": [(cores, "rewrite")],
    "save": [(cores, "save")],
    "check": [(cores, "check_core")],
    "write": [(conversion, "provenance_of"), (conversion, "sha256"), (conversion, "_finish")],
}


class Times:
    """The time of each part, without that of the parts it calls."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self._inner = [0.0]

    def measured(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, with its time added to that of the part."""

        def run(*arguments: Any, **named: Any) -> Any:
            start = _seconds()
            self._inner.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                took = _seconds() - start
                self.of[part] += took - self._inner.pop()  # type: ignore[assignment]
                self._inner[-1] += took

        return run


def _seconds() -> float:
    user, system, children_user, children_system, _ = os.times()
    return user + system + children_user + children_system


def convert(folder: Path) -> Times:
    """Convert a model into a repository that is thrown away."""
    times = Times()
    patches = [
        mock.patch.object(owner, name, times.measured(part, getattr(owner, name)))
        for part, functions in _FUNCTIONS.items()
        for owner, name in functions
    ]
    for patch in patches:
        patch.start()
    try:
        with TemporaryDirectory() as repository:
            times.measured("other", conversion.convert)(folder, repository=repository, name="model")
    finally:
        for patch in patches:
            patch.stop()
    times.of["all"] = sum(times.of.values())
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="PADDLE_DIR")
    print("| model | " + " | ".join(PARTS) + " |\n|---|" + "---:|" * len(PARTS))
    for folder in parser.parse_args().folders:
        times = convert(folder)
        print(f"| {folder.name} | " + " | ".join(f"{times.of[part]:.1f}" for part in PARTS) + " |", flush=True)


if __name__ == "__main__":
    main()
