"""The end of the program must not fall into a daemon thread that is in C++ code.

Until Python 3.13 it unwinds the stack of such a thread as soon as that comes back to Python, and C++ aborts the program
instead: OpenCV in a camera, an engine in the middle of an image.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARKED = 1.0  # seconds; the end of a program takes daemon threads away long before


class EndGate:
    """Lets steps of daemon threads through until the program ends; the end waits a while for those that are under way.

    Args:
        patience: for how many seconds it waits. A step that takes longer is on its own.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._reset()
        atexit.register(self._end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Count the body as under way. Once the program ends, a daemon thread stays here until it is gone.

        Raises:
            RuntimeError: the program went on for a while, as where a function for its end waits for this thread.
        """
        if not threading.current_thread().daemon:  # the end of the program waits for it anyway
            yield
            return
        with self._changed:
            self._under_way += not self._ended
            ended = self._ended
        if ended:
            time.sleep(_PARKED)
            raise RuntimeError("the program ends: nothing is computed any more")
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._ended = False

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: self._under_way <= 0, self._patience)


source_steps = EndGate(0.5)
"""Steps of cameras, videos and other sources, which may be silent for long."""

computing = EndGate(10.0)
"""Images in a model of this process."""
