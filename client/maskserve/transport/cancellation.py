"""Cancel a request whose answer is not needed any more."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from maskserve.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class CalledOff(ServerError):
    """The request was called off by who had sent it; nobody is told, and nobody tries again."""


class Cancellation:
    """Shared by who asks and who sends. Threads may use it; calling off is for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._called_off = False
        self._stops: list[Callable[[], object]] = []

    def call_off(self) -> None:
        """Stop what is under way, and whatever begins later."""
        with self._lock:
            self._called_off = True
            stops = list(self._stops)
        for stop in stops:
            stop()

    @property
    def called_off(self) -> bool:
        """Whether it was."""
        return self._called_off

    @contextmanager
    def watched(self, stop: Callable[[], object]) -> Iterator[None]:
        """Run the body as something that `stop` ends."""
        with self._lock:
            self._stops.append(stop)
            late = self._called_off
        try:
            if late:
                stop()
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)
