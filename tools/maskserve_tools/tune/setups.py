"""The ways to serve a model that are measured, and which of them are worth another turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

# After a turn, what answers less than this share of the best one's images a second is not measured again. Turns are
# short and machines noisy, so that the first ones leave room.
_KEPT = (0.75, 0.85, 0.92)
# Two setups whose rates are within this share of one another are called equal.
_TIE = 0.02


@dataclass(frozen=True, slots=True, order=True)
class Setup:
    """One way to serve a model.

    Attributes:
        layout: "single" or "ensemble".
        engine: what runs the core.
        precision: what it computes in.
        instances: how many images are computed at the same time.
        threads: CPU threads of one run of the core.
    """

    layout: str
    engine: str
    precision: str
    instances: int
    threads: int

    def __str__(self) -> str:
        return f"{self.layout}, {self.engine}, {self.precision}, {self.instances} x {self.threads}"


@dataclass(frozen=True, slots=True)
class Point:
    """What a setup did for a number of clients.

    Attributes:
        rate: images a second.
        relative: the same, as a share of the current setup's in the same turns.
        median: of the latencies, in seconds.
        p95: likewise.
        cpu: processor seconds of the server for an image.
    """

    rate: float
    relative: float
    median: float
    p95: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a setup.

    Attributes:
        setup: it.
        points: by the number of clients.
        memory: bytes of its processes, without what they share with others.
        turns: how many turns it was measured in.
        problem: why it could not be measured; "" where it was.
    """

    setup: Setup
    points: Mapping[int, Point]
    memory: int = 0
    turns: int = 0
    problem: str = ""


def splits(cpus: int) -> list[tuple[int, int]]:
    """Return the pairs of instances and threads that are measured on so many CPUs.

    They use all CPUs: one run on all of them, up to a run on each. One pair has two runs on all CPUs, so that one
    computes while the other paints.
    """
    counts = [1]
    while counts[-1] * 2 <= cpus:
        counts.append(counts[-1] * 2)
    if cpus not in counts:
        counts.append(cpus)
    found = [(count, max(1, cpus // count)) for count in counts]
    return list(dict.fromkeys([*found, (2, cpus)]))


def first_round(engines: Sequence[tuple[str, str]], cpus: int) -> list[Setup]:
    """Return what is measured to compare engines and precisions: one process with one run on all CPUs."""
    return [Setup("single", engine, precision, 1, cpus) for engine, precision in engines]


def second_round(engines: Sequence[tuple[str, str]], layouts: Sequence[str], cpus: int) -> list[Setup]:
    """Return every layout, and every split of the CPUs, of the engines that are left."""
    return [
        Setup(layout, engine, precision, instances, threads)
        for engine, precision in engines
        for layout in layouts
        for instances, threads in splits(cpus)
    ]


def worth_another_turn(relative: Mapping[Setup, float], turn: int, keep: Iterable[Setup] = ()) -> list[Setup]:
    """Return the setups to measure in the next turn.

    Args:
        relative: images a second of each, as a share of the current setup's.
        turn: how many turns there were.
        keep: setups that stay in any case.
    """
    least = _KEPT[min(turn, len(_KEPT)) - 1] * max(relative.values(), default=0.0)
    kept = set(keep)
    return [setup for setup, rate in relative.items() if rate >= least or setup in kept]


@dataclass(frozen=True, slots=True)
class Choice:
    """The setup that was chosen.

    Attributes:
        figures: of the setup.
        clients: the number of clients that it was chosen by.
        within: whether its p95 keeps to the latency that was asked for.
    """

    figures: Figures
    clients: int
    within: bool = True


def choose(measured: Sequence[Figures], current: Setup, *, latency: float | None = None) -> Choice:
    """Return the best setup.

    It is the one that answers the most images a second for the largest number of clients; with `latency` the one that
    does so for any number of clients with a p95 within it. Of equals the current setup is kept, or else the one with
    the lowest latency for a lone client is taken, then the one with less memory.

    Args:
        measured: at least one setup without a problem.
        current: what the entry has now.
        latency: seconds.
    """
    points = [(figures, clients) for figures in measured if not figures.problem for clients in figures.points]
    if latency is None:
        most = max(clients for _, clients in points)
        return Choice(*_best([point for point in points if point[1] == most], current))
    within = [point for point in points if point[0].points[point[1]].p95 <= latency]
    if within:
        return Choice(*_best(within, current))
    figures, clients = min(points, key=lambda point: point[0].points[point[1]].p95)
    return Choice(figures, clients, within=False)


def _best(points: Sequence[tuple[Figures, int]], current: Setup) -> tuple[Figures, int]:
    score: Callable[[tuple[Figures, int]], float] = lambda point: _score(*point, points)  # noqa: E731
    best = max(map(score, points))
    equal = [point for point in points if score(point) >= (1 - _TIE) * best]

    def preference(point: tuple[Figures, int]) -> tuple[bool, float, int]:
        figures, _ = point
        return figures.setup != current, figures.points[min(figures.points)].median, figures.memory

    return min(equal, key=preference)


def _score(figures: Figures, clients: int, points: Sequence[tuple[Figures, int]]) -> float:
    """Return images a second: the share of the current setup's, which is measured in the same turns, tells more."""
    same = {number for _, number in points} == {clients}
    point = figures.points[clients]
    return point.relative if same else point.rate
