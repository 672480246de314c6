"""A thread on which an event loop has blocking iterators advanced."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from maskserve.ending import source_steps

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_Step = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", "Callable[[], Any]"]


class SourceThread:
    """Runs steps one after the other, all on the same thread, which starts with the first of them.

    The executor of the loop would not do: it has another thread for each step, and the end of the program waits for
    its threads, also for one in a camera that is silent.
    """

    def __init__(self) -> None:
        self._steps: SimpleQueue[_Step | None] = SimpleQueue()
        self._started = False

    async def run(self, step: Callable[[], T]) -> T:
        """Return what `step` returns, or raise what it raises; it must not be a `StopIteration`."""
        return await self.begin(step)

    def begin(self, step: Callable[[], T]) -> asyncio.Future[T]:
        """Start `step`, without waiting for it."""
        if not self._started:
            self._started = True
            context = copy_context()
            threading.Thread(
                target=context.run, args=(_work_off, self._steps), name="maskserve-source", daemon=True
            ).start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._steps.put((loop, future, step))
        return future

    def close(self) -> None:
        """End the thread after the steps that were given to it."""
        self._steps.put(None)


def _work_off(steps: SimpleQueue[_Step | None]) -> None:
    while (entry := steps.get()) is not None:
        loop, future, step = entry
        outcome: Any = None
        failure: BaseException | None = None
        try:
            with source_steps.step():
                outcome = step()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, future, outcome, failure)
        del entry, loop, future, step, outcome, failure  # nothing is kept alive while the thread waits


def _settle(future: asyncio.Future[Any], outcome: Any, failure: BaseException | None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if failure is None:
        future.set_result(outcome)
    else:
        future.set_exception(failure)
