"""How much is taken in at once: bytes of a body, requests under way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from maskserve_gateway.refusals import Refusal, body_too_large, overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

_DRAIN_SECONDS = 5.0


class Turns:
    """Lets a number of requests go on to the servers, lets some more wait for a while, and turns the rest away."""

    def __init__(self, concurrent: int, waiting: int, patience: float) -> None:
        self._slots = asyncio.Semaphore(concurrent)
        self._room = concurrent + waiting
        self._patience = patience
        self._present = 0

    @contextmanager
    def present(self) -> Iterator[None]:
        """A request is here, being read or waiting: the memory it takes is counted from the start.

        Raises:
            Refusal: there are too many already.
        """
        if self._present >= self._room:
            raise overloaded()
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """It is the request's turn.

        Raises:
            Refusal: it was not within the time that one waits.
        """
        try:
            await asyncio.wait_for(self._slots.acquire(), self._patience)
        except asyncio.TimeoutError:
            raise overloaded() from None
        try:
            yield
        finally:
            self._slots.release()


async def read_body(request: Request, *, limit: int, seconds: float) -> bytes:
    """The body, counted while it is read.

    Raises:
        Refusal: it is too large, or takes too long.
        ClientDisconnect: nobody waits for the answer any more.
    """
    try:
        return await asyncio.wait_for(_read(request, limit), seconds)
    except asyncio.TimeoutError:
        raise Refusal(408, "the request did not arrive in time", {"Connection": "close"}) from None


async def _read(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    stream = request.stream()
    if announced.isdigit() and int(announced) > limit:
        if "expect" not in request.headers:  # who expects "100 Continue" has not begun to send
            await _drain(stream, limit)
        raise body_too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for chunk in stream:
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            parts.clear()
            await _drain(stream, limit)
            raise body_too_large(limit)
    return b"".join(parts)


async def _drain(stream: AsyncIterator[bytes], limit: int) -> None:
    """Throw away what is still coming, within reason: many clients read no answer before they have sent everything."""

    async def throw_away() -> None:
        dropped = 0
        async for chunk in stream:
            dropped += len(chunk)
            if dropped > limit:
                return

    with suppress(asyncio.TimeoutError, ClientDisconnect):
        await asyncio.wait_for(throw_away(), _DRAIN_SECONDS)
