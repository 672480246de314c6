"""The search for the best setup: engines first, then layouts and splits of the CPUs; what is far behind is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from maskserve.errors import ToolError
from maskserve_tools.tune.load import Turn
from maskserve_tools.tune.record import Record
from maskserve_tools.tune.setups import Setup, first_round, second_round, worth_another_turn

# Engines and precisions whose core alone is slower than this share of the best are not tried in every layout.
_ENGINE_KEPT = 0.8


class Measures(Protocol):
    """Measures setups that are served side by side."""

    problems: dict[Setup, str]

    def turn(self, setup: Setup) -> dict[int, Turn]:
        """Measure a setup once for each number of clients."""

    def memory(self, setup: Setup) -> int:
        """Return the bytes of a setup's processes."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and how.

    Attributes:
        current: the setup that all are compared with.
        engines: engines and precisions to choose among.
        shown: further ones, which change the answers: measured in the best layout only, and never chosen.
        layouts: the layouts to choose among.
        cpus: how many CPUs there are.
        clients: the numbers of clients.
        turns: how often a setup is measured at most.
        exhaustive: whether nothing is dropped.
        serve: serves a number of setups side by side.
        groups: divides setups into groups that fit into memory, the current one in each.
        record: where the turns are kept.
        report: called with a line for each step.
    """

    current: Setup
    engines: Sequence[tuple[str, str]]
    shown: Sequence[tuple[str, str]]
    layouts: Sequence[str]
    cpus: int
    clients: Sequence[int]
    turns: int
    exhaustive: bool
    serve: Callable[[Sequence[Setup]], AbstractContextManager[Measures]]
    groups: Callable[[Sequence[Setup]], Sequence[Sequence[Setup]]]
    record: Record
    report: Callable[[str], None]

    def run(self) -> list[Setup]:
        """Measure, and return the setups to choose among: those that were measured in every turn.

        Raises:
            ToolError: the current setup cannot be served.
        """
        engines = self._engines()
        setups = second_round(engines, self.layouts, self.cpus)
        left = self._measure([self.current, *setups])
        if self.shown:
            best = max(left, key=self._relative)
            others = [Setup(best.layout, *other, best.instances, best.threads) for other in self.shown]
            self.report("other precisions, which change the answers, to compare:")
            self._measure([self.current, *others])
        return left

    def _engines(self) -> list[tuple[str, str]]:
        if len(self.engines) == 1 or self.exhaustive:
            return list(self.engines)
        self.report("engines and precisions:")
        setups = first_round(self.engines, self.cpus)
        self._measure([self.current, *setups], turns=2)
        found = [setup for setup in setups if self.record.turns(setup)]
        best = max(map(self._relative, found), default=0.0)
        kept = [(s.engine, s.precision) for s in found if self._relative(s) >= _ENGINE_KEPT * best]
        return kept or [self.engines[0]]

    def _measure(self, setups: Sequence[Setup], *, turns: int | None = None) -> list[Setup]:
        """Measure setups in turns, and return those that were not dropped."""
        left: list[Setup] = []
        for group in self.groups(list(dict.fromkeys(setups))):
            left += [setup for setup in self._measure_group(group, turns or self.turns) if setup not in left]
        return left

    def _measure_group(self, group: Sequence[Setup], turns: int) -> list[Setup]:
        needed = [setup for setup in group if setup == self.current or not self.record.problem(setup)]
        if all(len(self.record.turns(setup)) >= turns for setup in needed):
            return self._left(needed, turns)
        with self.serve(needed) as served:
            if problem := served.problems.get(self.current):
                raise ToolError(
                    f"the model cannot be served as it is now ({self.current}), and everything is compared with that: "
                    f"{problem}"
                )
            for setup, problem in served.problems.items():
                self.record.add_problem(setup, problem)
                self.report(f"{setup}: {problem}")
            left = [setup for setup in needed if setup not in served.problems]
            for turn in range(1, turns + 1):
                self._take_turns(served, left, turn)
                left = self._left(left, turn)
        return left

    def _take_turns(self, served: Measures, setups: Sequence[Setup], turn: int) -> None:
        """Measure the current setup and then the others, unless they have had this turn."""
        missing = [setup for setup in setups if len(self.record.turns(setup)) < turn and setup != self.current]
        if not missing and len(self.record.turns(self.current)) >= turn:
            return
        reference = served.turn(self.current)  # anew each time: the machine may be busier now
        self._note(served, self.current, reference, turn)
        for setup in missing:
            found = {
                clients: replace(own, relative=own.rate / reference[clients].rate)
                for clients, own in served.turn(setup).items()
            }
            self._note(served, setup, found, turn)

    def _note(self, served: Measures, setup: Setup, found: Mapping[int, Turn], turn: int) -> None:
        self.record.add(setup, found, served.memory(setup))
        rates = ", ".join(f"{clients}: {own.rate:.2f}" for clients, own in found.items())
        self.report(f"turn {turn} of {self.turns}, {setup}: images a second by clients {rates}")

    def _left(self, setups: Sequence[Setup], turn: int) -> list[Setup]:
        measured = [setup for setup in setups if self.record.turns(setup)]
        if self.exhaustive:
            return measured
        return worth_another_turn({setup: self._relative(setup) for setup in measured}, turn, keep=[self.current])

    def _relative(self, setup: Setup) -> float:
        """Return the images a second, as a share of the current setup's, for the number of clients that suits it most.

        The numbers of clients are looked at apart, so that the best for a lone client is not dropped where a latency
        was asked for.
        """
        return max(self.record.relative(setup, clients) for clients in self.clients)
