"""The memory of a worker process: what the requests under way take together, and how it is given back."""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from maskserve.errors import ImageTooLarge
from maskserve_gateway.errors import overloaded

T = TypeVar("T")

# Measured: the JSON, its text, the Base64 in it as bytes, the file, and what the JSON parser holds meanwhile.
BYTES_PER_BODY_BYTE = 5
BYTES_PER_FILE_BYTE = 3  # the file, and its copies in a request to a server
# Decoding takes 3 to 6 bytes a pixel of most formats, 7 of a JPEG in CMYK, 8 of a TIFF in floats.
BYTES_PER_PIXEL = 8
BYTES_PER_DRAWN_PIXEL = 14  # when that is over: the copy to draw on, Pillow's own, a mask, the JPEG, its Base64

_READERS_SHARE = 0.5  # so that requests with a result can always be finished
_WORTH_TRIMMING = 16 << 20
_TRIM_SECONDS = 0.2
_M_ARENA_MAX = -8  # of mallopt


def drawing_bytes(pixels: int, drawn: int) -> int:
    """Return the bytes that it takes to draw on an image of `pixels`, or on a copy of at most `drawn`."""
    return max(pixels * BYTES_PER_PIXEL, min(pixels, drawn) * BYTES_PER_DRAWN_PIXEL)


@dataclass(slots=True, eq=False)
class _Waiting:
    share: Share
    amount: int
    granted: asyncio.Future[None]


class MemoryBudget:
    """Bytes that requests may take together; who finds too few left waits in a line.

    Args:
        total: the bytes.
        patience: seconds that a request waits.
        freed: called when a request that took much has ended.
    """

    def __init__(self, total: int, patience: float, freed: Callable[[], None] = lambda: None) -> None:
        self._total = total
        self._patience = patience
        self._freed = freed
        self._used = 0
        # those that have a result go first: they end soonest
        self._lines: dict[bool, deque[_Waiting]] = {False: deque(), True: deque()}

    @property
    def used(self) -> int:
        """Return the bytes that are taken now."""
        return self._used

    def share(self) -> Share:
        """Return the share of a request, which has nothing yet."""
        return Share(self)

    async def take(self, share: Share, amount: int, *, reading: bool) -> None:
        """Give `amount` more bytes to a share, as soon as they are there."""
        ceiling = self._ceiling(reading)
        if share.held + amount > ceiling:
            raise ImageTooLarge(
                f"the request takes more than {ceiling} bytes of memory, which is the limit; "
                "send a smaller image, or ask for no drawn one (visualize: false)"
            )
        line = self._lines[reading]
        if not line and self._used + amount <= ceiling:
            self.charge(share, amount)
            return
        waiting = _Waiting(share, amount, asyncio.get_running_loop().create_future())
        line.append(waiting)
        try:
            await asyncio.wait_for(waiting.granted, self._patience)
        except asyncio.TimeoutError:
            raise overloaded() from None
        finally:
            with suppress(ValueError):
                line.remove(waiting)

    def give_back(self, share: Share, amount: int) -> None:
        """Take bytes from a share, and let those who wait have them."""
        share.held -= amount
        self._used -= amount
        for reading, line in self._lines.items():
            while line and self._used + line[0].amount <= self._ceiling(reading):
                waiting = line.popleft()
                if not waiting.granted.done():
                    self.charge(waiting.share, waiting.amount)
                    waiting.granted.set_result(None)

    def _ceiling(self, reading: bool) -> int:
        return int(self._total * _READERS_SHARE) if reading else self._total

    def ended(self, share: Share) -> None:
        """Note that a request is over."""
        if share.most >= _WORTH_TRIMMING:
            self._freed()

    def charge(self, share: Share, amount: int) -> None:
        """Count bytes that a share has without asking."""
        self._used += amount
        share.held += amount
        share.most = max(share.most, share.held)


class Share:
    """What one request has of a `MemoryBudget`.

    Attributes:
        held: bytes now.
        most: bytes at most so far.
    """

    __slots__ = ("_budget", "held", "most")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.held = 0
        self.most = 0

    async def grow(self, amount: int, *, reading: bool = False) -> None:
        """Take `amount` more bytes, and wait for them where they are not there.

        Args:
            amount: of bytes.
            reading: whether the request is still being read; those that are may take half of the budget only.

        Raises:
            Refusal: they did not become free in time.
            ImageTooLarge: there will never be so many.
        """
        await self._budget.take(self, amount, reading=reading)

    def charge(self, amount: int) -> None:
        """Take `amount` more bytes that are there already, whatever the budget says: the next ones wait for them."""
        self._budget.charge(self, amount)

    def shrink_to(self, amount: int) -> None:
        """Give back what is above `amount`."""
        if self.held > amount:
            self._budget.give_back(self, self.held - amount)

    def close(self) -> None:
        """Give back everything."""
        self.shrink_to(0)
        self._budget.ended(self)


async def counted(share: Share, work: Callable[[], T]) -> T:
    """Return what `work` does in a thread; its share is closed when the thread has ended, not when nobody waits."""
    future = asyncio.get_running_loop().run_in_executor(None, work)

    def ended(future: asyncio.Future[T]) -> None:
        share.close()
        if not future.cancelled():
            future.exception()  # nobody may be there to look at it

    future.add_done_callback(ended)
    return await asyncio.shield(future)


class Trimmer:
    """Gives freed memory back to the system; otherwise the C library keeps it for later, a third of a peak or more.

    Made in the event loop. `request` may be called as often as there are requests.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._pending = False

    def limit_arenas(self) -> None:
        """Let threads share two heaps, so that little is left in each; before there are threads."""
        if hasattr(self._library, "mallopt"):
            self._library.mallopt(_M_ARENA_MAX, 2)

    def request(self) -> None:
        """Ask for a trim, which comes soon, once for all who ask until then."""
        if not self._pending and hasattr(self._library, "malloc_trim"):
            self._pending = True
            asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._start)

    def _start(self) -> None:
        self._pending = False
        asyncio.get_running_loop().run_in_executor(None, self._library.malloc_trim, 0)
