"""The turns of a run of `maskserve tune`, kept in a file, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import fcntl
import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve_tools.tune.load import Turn, p95
from maskserve_tools.tune.setups import Figures, Point, Setup

FILE = "turns.jsonl"
Turns = list[Mapping[int, Turn]]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a folder to one run, as far as its file system has locks; it is created.

    Raises:
        ToolError: another run measures into it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ToolError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        with suppress(OSError):
            _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ToolError(
            f"another `maskserve tune` measures into {folder} just now, and two at once disturb each other: wait for it"
        ) from error


class Record:
    """Turns by their setups, in memory and in a file.

    Args:
        folder: where the file is; it is created.
        conditions: what makes turns comparable. Turns of a file with others are thrown away.

    Raises:
        ToolError: the folder cannot be written.
    """

    def __init__(self, folder: Path, conditions: Mapping[str, Any]) -> None:
        self._turns: dict[Setup, Turns] = {}
        self._memory: dict[Setup, int] = {}
        self._problems: dict[Setup, str] = {}
        self._file = folder / FILE
        header = json.dumps({"conditions": conditions}, sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
            if not lines or lines[0] != header:
                lines = [header]
            kept = [header, *(line for line in lines[1:] if self._take(line))]
            self._replace("".join(f"{line}\n" for line in kept))
        except OSError as error:
            raise ToolError(f"{folder} cannot be written: {error}") from error

    @property
    def setups(self) -> list[Setup]:
        """Everything that was measured, or cannot be."""
        return list(dict.fromkeys([*self._turns, *self._problems]))

    def turns(self, setup: Setup) -> Sequence[Mapping[int, Turn]]:
        """Return the turns of a setup, each by the number of clients."""
        return self._turns.get(setup, [])

    def problem(self, setup: Setup) -> str:
        """Return why a setup cannot be measured; "" where it can."""
        return self._problems.get(setup, "")

    def add(self, setup: Setup, turn: Mapping[int, Turn], memory: int) -> None:
        """Add a turn."""
        points = {str(clients): asdict(found) for clients, found in turn.items()}
        self._write({"setup": asdict(setup), "points": points, "memory": memory})

    def add_problem(self, setup: Setup, problem: str) -> None:
        """Note that a setup cannot be measured."""
        self._write({"setup": asdict(setup), "problem": problem})

    def figures(self, setups: Sequence[Setup]) -> list[Figures]:
        """Return what was measured of the setups; those that were not measured are left out."""
        measured = [setup for setup in setups if self.turns(setup) or self.problem(setup)]
        return [self._figures(setup) for setup in measured]

    def relative(self, setup: Setup, clients: int) -> float:
        """Return the median share of the current setup's rate in the same turns."""
        return statistics.median(turn[clients].relative for turn in self.turns(setup))

    def _figures(self, setup: Setup) -> Figures:
        turns = self.turns(setup)
        if not turns:
            return Figures(setup, {}, problem=self.problem(setup))
        points = {
            clients: Point(
                rate=statistics.median(turn[clients].rate for turn in turns),
                relative=self.relative(setup, clients),
                median=statistics.median(latency for turn in turns for latency in turn[clients].latencies),
                p95=statistics.median(p95(turn[clients].latencies) for turn in turns),
                cpu=statistics.median(turn[clients].cpu_per_image for turn in turns),
            )
            for clients in turns[0]
        }
        return Figures(setup, points, self._memory.get(setup, 0), len(turns))

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line)
        self._take(text)
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError as error:
            raise ToolError(f"{self._file} cannot be written: {error}") from error

    def _replace(self, text: str) -> None:
        """Write the file anew, beside the old one: where the disk is full the turns of hours stay."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self._file)

    def _take(self, text: str) -> bool:
        """Take a line of the file; False for one that was cut off."""
        try:
            line = json.loads(text)
            setup = Setup(**line["setup"])
            if "problem" in line:
                self._problems[setup] = str(line["problem"])
                return True
            turn = {
                int(clients): Turn(
                    float(found["rate"]), tuple(found["latencies"]), float(found["cpu"]), float(found["relative"])
                )
                for clients, found in line["points"].items()
            }
            self._memory[setup] = max(int(line["memory"]), self._memory.get(setup, 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        self._turns.setdefault(setup, []).append(turn)
        return True
