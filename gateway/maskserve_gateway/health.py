"""Whether the model answers: shown by an answer, not by an open port."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from maskserve.errors import MaskserveError, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Health:
    """Remembers when the model answered last, and asks it again when that is too long ago.

    Args:
        canary: lets the model segment a small image; raises `MaskserveError`.
        seconds: how old the proof may be. A failure is remembered as long.
        timeout: how long a canary may take.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        canary: Callable[[], Awaitable[None]],
        *,
        seconds: float,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._canary = canary
        self._seconds = seconds
        self._timeout = timeout
        self._clock = clock
        self._proved = float("-inf")
        self._failed = float("-inf")
        self._failure: MaskserveError | None = None
        self._running: asyncio.Task[None] | None = None

    def proved(self) -> None:
        """Note that a request was answered: this proves the model as a canary does."""
        self._proved = self._clock()
        self._failure = None

    async def check(self) -> None:
        """Return when the model has answered lately.

        However many ask, there is one canary at a time.

        Raises:
            MaskserveError: it has not.
        """
        now = self._clock()
        if now - self._proved <= self._seconds:
            return
        if self._failure is not None and now - self._failed <= self._seconds:
            raise self._failure
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._probe())
        await asyncio.shield(self._running)
        if self._failure is not None:
            raise self._failure

    async def _probe(self) -> None:
        try:
            await asyncio.wait_for(self._canary(), self._timeout)
        except (MaskserveError, asyncio.TimeoutError) as error:
            self._failure = error if isinstance(error, MaskserveError) else RequestTimeout("no answer to a test image")
            self._failed = self._clock()
        else:
            self.proved()
