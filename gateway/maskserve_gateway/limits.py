"""How much is taken in at once: bytes of a body, requests under way."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from maskserve.pace import Pace, come_back_in
from maskserve_gateway.errors import Refusal, body_too_large, overloaded
from maskserve_gateway.memory import BYTES_PER_BODY_BYTE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from maskserve_gateway.memory import Share

# Of the time that one has: it is let in where it is expected to be answered within this share, for that is a mean.
_MARGIN = 0.8
_DRAIN_SECONDS = 5.0
_SLOWEST_BYTES_A_SECOND = 4096


class ConcurrencyLimiter:
    """Lets a number of requests go on to the servers, lets some more wait for a while, and turns the rest away.

    One that would not be answered in time is turned away at once: how fast answers follow one another is learned.

    Args:
        concurrent: how many go on to the servers.
        waiting: how many more may be here.
        patience: seconds that one may wait for its turn.
        total: seconds that it may take in all.
        clock: monotonic seconds.
    """

    def __init__(
        self, concurrent: int, waiting: int, patience: float, total: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots = asyncio.Semaphore(concurrent)
        self._concurrent, self._room = concurrent, concurrent + waiting
        self._patience, self._total = patience, total
        self._present = self._with_servers = 0
        self._answered = asyncio.Event()
        self._pace, self._clock = Pace(), clock

    @contextmanager
    def present(self) -> Iterator[None]:
        """Count a request while the body runs, from its first byte: being read or waiting, it takes memory.

        Raises:
            Refusal: there is no room for it.
        """
        self.check_room()
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    def check_room(self) -> None:
        """Check that one more may come in.

        Raises:
            Refusal: there are too many already, or it would not be answered in time.
        """
        answered = (self._present + 1) * self._pace.seconds
        wait = answered - self._concurrent * self._pace.seconds
        late = self._present > 0 and (wait > _MARGIN * self._patience or answered > _MARGIN * self._total)
        if self._present >= self._room or late:
            raise overloaded(come_back_in(answered))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the request's turn; the body runs in it.

        Raises:
            Refusal: it was not within the time that one waits.
        """
        try:
            await asyncio.wait_for(self._slots.acquire(), self._patience)
        except asyncio.TimeoutError:
            raise overloaded() from None
        begun = self._clock()
        self._with_servers += 1
        try:
            yield
            self._pace.answered(begun, self._clock())
        finally:
            self._with_servers -= 1
            self._answered.set()
            self._answered = asyncio.Event()
            self._slots.release()

    async def place_at_server(self) -> bool:
        """Wait, in one's turn, until another request with the servers has ended.

        Returns:
            False where there is no other.
        """
        self._with_servers -= 1
        try:
            if self._with_servers == 0:
                return False
            await self._answered.wait()
            return True
        finally:
            self._with_servers += 1


async def read_body(request: Request, share: Share, *, limit: int, seconds: float, slow_seconds: float) -> bytes:
    """Return the body, counted while it is read.

    Args:
        request: whose body it is.
        share: grows by what the request will take until its image is out of the body.
        limit: bytes that it may have.
        seconds: that it may take in all.
        slow_seconds: that it may come in slower than 4 KB a second.

    Raises:
        Refusal: it is too large, takes too long, or there is no memory for it.
        ClientDisconnect: nobody waits for the answer any more.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    arrived = _Arrived()
    reading = asyncio.ensure_future(_read(request, share, limit, arrived))
    try:
        while (left := deadline - loop.time()) > 0:
            before, window = arrived.size, min(slow_seconds, left)
            await asyncio.wait({reading}, timeout=window)
            if reading.done():
                return reading.result()
            if not arrived.stopped and arrived.size - before < _SLOWEST_BYTES_A_SECOND * window:
                break
    finally:
        reading.cancel()
    raise Refusal(408, "the request did not arrive in time", {"Connection": "close"})


@dataclass(slots=True)
class _Arrived:
    size: int = 0
    stopped: bool = False  # until there is memory, no more is read


async def _read(request: Request, share: Share, limit: int, arrived: _Arrived) -> bytes:
    announced = request.headers.get("content-length", "")
    stream = request.stream()
    if announced.isdigit() and int(announced) > limit:
        if "expect" not in request.headers:  # who expects "100 Continue" has not begun to send
            await _drain(stream, limit, arrived)
        raise body_too_large(limit)
    parts: list[bytes] = []
    async for chunk in stream:
        parts.append(chunk)
        arrived.size += len(chunk)
        arrived.stopped = True
        await share.grow(len(chunk) * BYTES_PER_BODY_BYTE, reading=True)
        arrived.stopped = False
        if arrived.size > limit:
            parts.clear()
            await _drain(stream, limit, arrived)
            raise body_too_large(limit)
    return b"".join(parts)


async def _drain(stream: AsyncIterator[bytes], limit: int, arrived: _Arrived) -> None:
    """Read and drop what still comes, within limits: many clients read no answer before they have sent everything."""

    async def throw_away() -> None:
        dropped = 0
        async for chunk in stream:
            dropped += len(chunk)
            arrived.size += len(chunk)
            if dropped > limit:
                return

    with suppress(asyncio.TimeoutError, ClientDisconnect):
        await asyncio.wait_for(throw_away(), _DRAIN_SECONDS)
