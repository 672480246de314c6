"""The queue in front of a model: bounded, in order, and without those who could not be answered in time."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from maskserve.errors import ServerOverloaded
from maskserve.pace import Pace, come_back_in
from maskserve_server.spec import Queue

T = TypeVar("T")

# Bytes of images that may wait: four of the largest that a model takes by default.
_WAITING_BYTES = 256 << 20
# Of a request's time: it is taken in where its answer is expected within this share, for what is expected is a mean.
_MARGIN = 0.8
# An answer that comes later than this many times the usual is not coming: its step has died, or it was lost.
_LOST = 5.0
_LOST_SECONDS = 2.0
# The same for one that a later one has overtaken. Who asks this step alone, and not the model, sends none any further.
_OVERTAKEN = 3.0
_OVERTAKEN_SECONDS = 0.5
# Tests of the server that a full queue lets in. They show whether the steps behind it live, which a refusal does not.
_PROBES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[T]):
    """A request in the queue.

    Attributes:
        item: the request.
        size: bytes that it takes.
        arrived: when it came, in monotonic seconds.
        start_by: when it has waited too long.
        deadline: when nobody wants its answer any more; None where that is not known.
        probe: whether it is a test of the server.
    """

    item: T
    size: int
    arrived: float
    start_by: float
    deadline: float | None
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """A request that has left the queue.

    Attributes:
        waiting: the request.
        number: what `done` is to be called with; None where its time has passed, and nothing is to be computed.
    """

    waiting: Waiting[T]
    number: int | None


class BoundedQueue(Generic[T]):
    """Requests wait here in order. Threads share it.

    Args:
        limits: how many are taken in, and how long one may wait.
        ahead: how many may be under way behind the queue.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Queue, ahead: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._ahead, self._clock = limits, ahead, clock
        self._pace = Pace(limits.seconds_per_image)
        self._changed = threading.Condition()
        self._waiting: deque[Waiting[T]] = deque()
        self._bytes = 0
        self._under_way: dict[int, float] = {}
        self._number = 0
        self._newest_done = 0
        self._probed = False  # whether a test of the server was the last one to leave
        self._closed = False

    def offer(self, item: T, *, size: int, timeout: float | None, probe: bool = False) -> None:
        """Take a request in.

        Args:
            item: the request.
            size: bytes that it takes.
            timeout: seconds for which its answer is wanted; None where that is not known.
            probe: whether it is a test of the server, which goes in front.

        Raises:
            ServerOverloaded: there are too many already, or it would not be answered in time.
        """
        with self._changed:
            now = self._clock()
            self._forget_lost(now)
            first = probe and sum(waiting.probe for waiting in self._waiting) < _PROBES
            if not first:
                self._check_room(size, timeout)
            if first:  # it is not answered for a step behind this one that hangs: silence is what shows that
                timeout = None
            patience = self._limits.seconds if timeout is None else min(timeout, self._limits.seconds)
            patience = math.inf if first else patience
            deadline = None if timeout is None else now + timeout
            waiting = Waiting(item, size, now, now + patience, deadline, first)
            if first:
                self._waiting.appendleft(waiting)
            else:
                self._waiting.append(waiting)
            self._bytes += size
            self._changed.notify_all()

    def take(self) -> Turn[T] | None:
        """Wait for a request: the next one whose turn it is, or one whose time has passed. None when it was closed."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                late = next((waiting for waiting in self._waiting if self._is_late(waiting, now)), None)
                if late is not None:
                    self._remove(late)
                    return Turn(late, None)
                self._forget_lost(now)
                # a test of the server is one more: it shows that the steps behind this one live, whoever holds them up
                if self._waiting and len(self._under_way) < self._ahead + self._waiting[0].probe:
                    first = self._next()
                    self._remove(first)
                    self._number += 1
                    self._under_way[self._number] = now
                    return Turn(first, self._number)
                self._changed.wait(self._until_something_happens(now))
        return None

    def done(self, number: int, *, computed: bool) -> None:
        """Count a request as answered.

        Args:
            number: what `take` called it.
            computed: whether the whole work was done, so that the time it took says something.
        """
        with self._changed:
            self._newest_done = max(self._newest_done, number)
            begun = self._under_way.pop(number, None)
            if begun is not None and computed:
                self._pace.answered(begun, self._clock())
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Let `take` end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _check_room(self, size: int, timeout: float | None) -> None:
        before = len(self._waiting) + len(self._under_way)
        if before == 0:
            return  # nobody is in front of it: whatever was learned, trying is the only way to learn more
        wait = before * self._pace.seconds
        full = before >= self._limits.size or self._bytes + size > _WAITING_BYTES
        late = wait > self._limits.seconds or (timeout is not None and wait + self._pace.seconds > _MARGIN * timeout)
        if full or late:
            seconds = come_back_in(wait)
            raise ServerOverloaded(
                f"{before} requests are being answered or wait already; send fewer at once, or try again in {seconds} s"
            )

    def _is_late(self, waiting: Waiting[T], now: float) -> bool:
        """Return whether it has waited too long, or its answer would come too late."""
        if now > waiting.start_by:
            return True
        # one that is alone is tried, whatever was learned: only an answer teaches that the server is faster now
        alone = not self._under_way and len(self._waiting) == 1
        answered = now if alone else now + (len(self._under_way) + 1) * self._pace.seconds
        return waiting.deadline is not None and answered > waiting.deadline

    def _next(self) -> Waiting[T]:
        """Return whose turn it is: a test of the server goes first, but two in a row do not while others wait.

        Anybody may call a request a test. So who does gets every other turn at most.
        """
        first = self._waiting[0]
        if first.probe and self._probed:
            first = next((waiting for waiting in self._waiting if not waiting.probe), first)
        self._probed = first.probe
        return first

    def _remove(self, waiting: Waiting[T]) -> None:
        self._waiting.remove(waiting)
        self._bytes -= waiting.size

    def _lost_after(self, number: int) -> float:
        """Return the seconds after which the answer to a request is not waited for any more."""
        usual = self._ahead * self._pace.seconds
        if number < self._newest_done:
            return max(_OVERTAKEN_SECONDS, _OVERTAKEN * usual)
        return max(_LOST_SECONDS, _LOST * usual)

    def _forget_lost(self, now: float) -> None:
        lost = [number for number, begun in self._under_way.items() if now - begun > self._lost_after(number)]
        for number in lost:
            del self._under_way[number]

    def _until_something_happens(self, now: float) -> float | None:
        """Return the seconds until somebody's time has passed."""
        if not self._waiting:
            return None
        times = [waiting.start_by for waiting in self._waiting if waiting.start_by < math.inf]
        times += [waiting.deadline for waiting in self._waiting if waiting.deadline is not None]
        times += [begun + self._lost_after(number) for number, begun in self._under_way.items()]
        return max(min(times) - now, 0.0) + 0.001 if times else None
