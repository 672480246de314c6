"""Clients that ask without a pause, and what they saw."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_ENOUGH = 4  # answers, for a rate between them


@dataclass(frozen=True, slots=True)
class Turn:
    """What a number of clients saw in one turn.

    Attributes:
        rate: answers a second, see `rate_of`.
        latencies: of each answer, in seconds.
        cpu: processor seconds of the server, in all.
        relative: the rate, as a share of the current setup's just before.
    """

    rate: float
    latencies: tuple[float, ...]
    cpu: float = 0.0
    relative: float = 1.0

    @property
    def cpu_per_image(self) -> float:
        """Processor seconds of the server for one image."""
        return self.cpu / len(self.latencies)


def take_turn(
    ask: Callable[[bytes], object],
    images: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    cpu: Callable[[], float] = lambda: 0.0,
) -> Turn:
    """Let clients ask for some time, each at least once; they share the images out.

    Args:
        ask: sends an image and returns when the answer is there.
        images: what to send, again and again.
        clients: how many ask at the same time.
        seconds: when no further request is sent.
        cpu: the processor seconds that the server has taken so far.
    """
    numbers = itertools.count()
    before, began = cpu(), time.perf_counter()
    end, done = began + seconds, list[float]()

    def work(_: int) -> list[float]:
        latencies: list[float] = []
        while not latencies or time.perf_counter() < end:
            image = images[next(numbers) % len(images)]
            start = time.perf_counter()
            ask(image)
            ended = time.perf_counter()
            done.append(ended)
            latencies.append(ended - start)
        return latencies

    with ThreadPoolExecutor(clients) as pool:
        latencies = [value for values in pool.map(work, range(clients)) for value in values]
    return Turn(rate_of(began, sorted(done), end), tuple(latencies), cpu() - before)


def rate_of(began: float, done: Sequence[float], end: float) -> float:
    """Return the answers a second: the slope, in time, of those that came while all clients asked.

    Before and after that some of the server is idle: in a short turn that would count as much as the work. A line
    through all answers, because they may come in twos and fours.

    Args:
        began: when the first request was sent.
        done: when the answers came, sorted; at least one.
        end: when no further request was sent.
    """
    meanwhile = [moment for moment in done if moment <= end]
    if len(meanwhile) < _ENOUGH or meanwhile[-1] <= meanwhile[0]:
        return len(done) / (done[-1] - began)
    return statistics.linear_regression(meanwhile, range(len(meanwhile))).slope


def p95(latencies: Sequence[float]) -> float:
    """Return the 95th percentile; the longest of fewer than twenty."""
    if len(latencies) < 20:
        return max(latencies)
    return statistics.quantiles(latencies, n=20)[-1]
