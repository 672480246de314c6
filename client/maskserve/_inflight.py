"""Several pieces of work under way at once, their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4


def in_order(work: Callable[[T], R], items: Iterable[T], width: int) -> Iterator[R]:
    """``map(work, items)`` with up to `width` calls under way in threads.

    Items are taken one by one, no further ahead than four times `width`, so that one slow call does not leave the other
    threads without work; a result is yielded as soon as it and all before it are there. An exception, of `work` or of
    `items`, comes where its result would have come. Closing the generator starts nothing more and waits for nothing.
    """
    pool = ThreadPoolExecutor(width, thread_name_prefix="maskserve")
    pending: deque[Future[R]] = deque()
    source = iter(items)
    failure: Exception | None = None
    try:
        while True:
            try:
                pending.append(pool.submit(work, next(source)))
            except StopIteration:
                break
            except Exception as error:  # raised below, after the results of the items before
                failure = error
                break
            while pending and (len(pending) >= _AHEAD * width or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def in_order_async(work: Callable[[T], R], items: AsyncIterable[T], width: int) -> AsyncGenerator[R, None]:
    """`in_order` for an event loop: the work is done in threads, the loop stays free."""
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(width, thread_name_prefix="maskserve")
    pending: deque[asyncio.Future[R]] = deque()
    source = aiter(items)
    failure: Exception | None = None
    try:
        while True:
            try:
                pending.append(loop.run_in_executor(pool, work, await anext(source)))
            except StopAsyncIteration:
                break
            except Exception as error:  # raised below, after the results of the items before
                failure = error
                break
            while pending and (len(pending) >= _AHEAD * width or pending[0].done()):
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
        if failure is not None:
            raise failure
    finally:
        for future in pending:
            future.add_done_callback(_forget)
            future.cancel()
        pool.shutdown(wait=False, cancel_futures=True)


def _forget(future: asyncio.Future[Any]) -> None:
    """Look at the exception of a future that nobody waits for, lest asyncio complains about it."""
    if not future.cancelled():
        future.exception()
