"""Several servers as one: requests are spread, and those that are down are passed over."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from maskserve.errors import ModelNotFound, ModelNotReady, RequestTimeout, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maskserve._transport import ServedModel, Transport
    from maskserve._wire import ImageRequest, Tensor

T = TypeVar("T")

# Another server may do better. Segmenting changes nothing, so asking it is safe.
_PASSED_OVER = (ServerUnavailable, ModelNotReady, ModelNotFound)
_REST_SECONDS = 5.0


class Server:
    """One of them, and how it is doing."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.under_way = 0
        self.begun = 0
        self.rests_until = 0.0


class BalancedTransport:
    """A transport over others: the one with the fewest requests under way is asked.

    A server that failed is asked last for five seconds, so that one that is up again is found, and none is waited for
    while another answers. A request that timed out is not sent again: it would only be more work.
    """

    def __init__(self, transports: Sequence[Transport], clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = [Server(transport) for transport in transports]
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the servers are, for messages."""
        return ", ".join(server.transport.url for server in self._servers)

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """The output tensors for one image."""
        return self._ask(lambda transport: transport.infer(model, request))

    def model_config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration."""
        return self._ask(lambda transport: transport.model_config(model))

    def models(self) -> Sequence[ServedModel]:
        """The repository index of one of them."""
        return self._ask(lambda transport: transport.models())

    def close(self) -> None:
        """Close the connections to all of them."""
        for server in self._servers:
            server.transport.close()

    def _ask(self, question: Callable[[Transport], T]) -> T:
        failure: Exception | None = None
        asked: set[Server] = set()
        while server := self._next(asked):
            asked.add(server)
            try:
                with self._busy(server):
                    return question(server.transport)
            except _PASSED_OVER as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _next(self, asked: set[Server]) -> Server | None:
        with self._lock:
            now = self._clock()
            left = [server for server in self._servers if server not in asked]
            return min(left, key=lambda s: (s.rests_until > now, s.under_way, s.begun), default=None)

    @contextmanager
    def _busy(self, server: Server) -> Iterator[None]:
        with self._lock:
            server.under_way += 1
            server.begun += 1
        try:
            yield
        except (*_PASSED_OVER, RequestTimeout):
            server.rests_until = self._clock() + _REST_SECONDS
            raise
        else:
            server.rests_until = 0.0
        finally:
            with self._lock:
                server.under_way -= 1
