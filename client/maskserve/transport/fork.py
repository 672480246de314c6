"""A fork must not fall into the middle of a request.

In the middle of a gRPC call the child would abort, or the parent hang; with HTTP, and with an engine in this process,
the child could inherit a lock that nobody opens any more.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class ForkGate:
    """Lets requests through, except while the process forks; the fork waits for those that are under way."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._open, after_in_child=self._reset)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as under way while the body runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._forking = False

    def _before(self) -> None:
        with self._changed:
            self._forking = True
            self._changed.wait_for(lambda: self._under_way == 0)

    def _open(self) -> None:
        with self._changed:
            self._forking = False
            self._changed.notify_all()


fork_gate = ForkGate()
