"""Several pieces of work under way at once, their results in order."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from maskserve.ending import source_steps
from maskserve.errors import MaskserveError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable

T = TypeVar("T")
R = TypeVar("R")

GRACE = 0.5
"""Seconds that a source has to end its last step after its reader has stopped."""
_AHEAD = 4


def in_order(work: Callable[[T], R], items: Iterable[T], width: int) -> Generator[R, None, None]:
    """Yield what ``map(work, items)`` yields, with up to `width` calls under way in threads.

    A result is yielded as soon as it and all before it are there, also while the next item is not. For this, `items` is
    advanced on one thread of its own from its first item to its last. No more than four times `width` items are taken
    that the caller has not done with, so that one slow call does not leave the other threads without work.

    An exception, of `work` or of `items`, comes where its result would have come. Closing the generator starts nothing
    more and waits for no work; it gives `items` half a second to end its last step, so that a camera may be closed
    afterwards.
    """
    feeder = Feeder(work, items, width)
    del items  # the feeder's thread has the last reference, so that a generator is closed where it ran
    try:
        while (future := feeder.following()) is not None:
            yield future.result()
            feeder.done_with_one()
    finally:
        feeder.close()


class Feeder(Generic[T, R]):
    """Takes items on a thread of its own and has the work on them begun.

    Args:
        work: what is to be done with an item.
        items: where the items come from.
        width: how many calls of `work` may be under way.
    """

    def __init__(self, work: Callable[[T], R], items: Iterable[T], width: int) -> None:
        self._room = threading.Semaphore(_AHEAD * width)
        self._begun: SimpleQueue[Future[R] | None] = SimpleQueue()
        self._stopped = False
        self._process = os.getpid()
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="maskserve")
        # a daemon: the end of the program does not wait for a source that is silent
        arguments = (self._feed, work, items)
        self._thread = threading.Thread(target=copy_context().run, args=arguments, name="maskserve-source", daemon=True)
        self._thread.start()

    def following(self) -> Future[R] | None:
        """Wait for the next item; gives the work on it, None after the last."""
        if self._process != os.getpid():
            raise MaskserveError("these results belong to the process that began to iterate; call predict in this one")
        return self._begun.get()

    def done_with_one(self) -> None:
        """Let one more item be taken."""
        self._room.release()

    def close(self) -> None:
        """Take nothing more and begin nothing more."""
        if self._process != os.getpid():  # the threads, and whoever holds the locks, are in the parent
            return
        self._stopped = True
        self._room.release()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if threading.current_thread() is not self._thread:
            self._thread.join(GRACE)

    def _feed(self, work: Callable[[T], R], items: Iterable[T]) -> None:
        try:
            source = iter(items)
            while self._room.acquire() and not self._stopped:
                try:
                    with source_steps.step():
                        item = next(source)
                except StopIteration:
                    break
                if self._stopped:
                    break
                self._begun.put(self._pool.submit(work, item))
                del item
        except BaseException as error:  # raised where its result would have come
            failed: Future[R] = Future()
            failed.set_exception(error)
            self._begun.put(failed)
        self._begun.put(None)


class AsyncFeeder(Generic[T, R]):
    """`Feeder` for an event loop: the work is done in threads, the items are taken by a task, the loop stays free.

    This is no generator, since the end of a loop closes all generators at once, those that others are closing, too.

    Args:
        work: what is to be done with an item.
        items: where the items come from; closed by the task.
        width: how many calls of `work` may be under way.
    """

    def __init__(self, work: Callable[[T], R], items: AsyncGenerator[T, None], width: int) -> None:
        self._room = asyncio.Semaphore(_AHEAD * width)
        self._begun: deque[asyncio.Future[R]] = deque()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="maskserve")
        self._task = asyncio.create_task(self._feed(work, items), name="maskserve-source")
        self._task.add_done_callback(lambda _: self._changed.set())

    async def following(self) -> asyncio.Future[R] | None:
        """Wait for the next item; gives the work on it, None after the last. Raises what the items raise."""
        while not self._begun and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        if self._begun:
            return self._begun.popleft()
        if self._failure is not None:
            raise self._failure
        return None

    def done_with_one(self) -> None:
        """Let one more item be taken."""
        self._room.release()

    async def close(self) -> None:
        """Take nothing more and begin nothing more; the items have a second to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for future in self._begun:
            future.add_done_callback(_forget)
            future.cancel()
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=2 * GRACE)

    async def _feed(self, work: Callable[[T], R], items: AsyncGenerator[T, None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with aclosing(items):
                while await self._room.acquire():
                    self._begun.append(loop.run_in_executor(self._pool, work, await anext(items)))
                    self._changed.set()
        except StopAsyncIteration:
            pass
        except BaseException as error:  # raised by `following`, after the results of the items before
            self._failure = error


def _forget(future: asyncio.Future[Any]) -> None:
    """Look at the exception of a future that nobody waits for, lest asyncio complains about it."""
    if not future.cancelled():
        future.exception()
