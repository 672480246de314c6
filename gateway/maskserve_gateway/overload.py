"""Refusals by the head of a request, before routes and bodies are looked at.

When many come at once, each waits for the refusals of those in front of it. So a refusal costs as little as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from maskserve_gateway.errors import Refusal
from maskserve_gateway.keys import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from maskserve_gateway.limits import ConcurrencyLimiter


class Turnstile:
    """ASGI middleware that refuses requests for which there is no room.

    The route itself counts those that come in, and asks again. Who has no valid key learns nothing here.

    Args:
        app: what answers the others.
        path: the end of the paths that it is about; other requests pass.
        turns: knows whether there is room.
        keys: one of which a request must have to be refused here.
        refused: makes the answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        turns: ConcurrencyLimiter,
        keys: Sequence[str],
        refused: Callable[[Scope, Refusal], Response],
    ) -> None:
        self._app = app
        self._path = path
        self._turns, self._keys, self._refused = turns, keys, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await self._refused(scope, refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        if scope["method"] != "POST" or not scope["path"].endswith(self._path):
            return None
        try:
            self._turns.check_room()
            return None
        except Refusal as refusal:
            try:
                check_key(Headers(scope=scope), self._keys)
            except Refusal:
                return None
            return refusal
