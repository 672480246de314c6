"""Several servers as one: requests are spread, and those that are down are passed over."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from maskserve.errors import MaskserveError, ModelNotFound, ModelNotReady, RequestTimeout, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maskserve.transport.base import ServedModel, ServerStatus, Transport
    from maskserve.transport.wire import ImageRequest, Tensor

T = TypeVar("T")

# Another server may do better, unless the request was lost with this one: it may be the cause.
_PASSED_OVER = (ServerUnavailable, ModelNotReady, ModelNotFound)
_REST_SECONDS = 5.0


class Server:
    """One of them, and how it is doing."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.under_way = 0
        self.begun = 0
        self._rests = dict[str | None, float]()

    def rest(self, until: float, model: str | None) -> None:
        """Ask it last until then: about a model, or about anything where that is None."""
        self._rests[model] = until

    def rested(self, model: str | None) -> None:
        """Note that it has answered about a model."""
        self._rests.pop(None, None)
        self._rests.pop(model, None)

    def rests(self, now: float, model: str | None) -> bool:
        """Return whether it is asked last about a model."""
        return any(self._rests.get(of, now) > now for of in (None, model))


class BalancedTransport:
    """A transport over others: the one with the fewest requests under way is asked.

    They need not have the same models: one that has not the model is asked last about this model only.

    A server that failed is asked last for five seconds, so that one that is up again is found, and none is waited for
    while another answers. A request that timed out is not sent again: it would only be more work. Nor is one that was
    lost with a server that died: its image may have killed it, and would kill the next one.
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
        """Return the output tensors for one image."""
        return self._ask(lambda transport: transport.infer(model, request), model, carries_image=True)

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return the model's configuration."""
        return self._ask(lambda transport: transport.model_config(model), model)

    def status(self) -> ServerStatus:
        """Return what one of them says of itself."""
        return self._ask(lambda transport: transport.status())

    def models(self) -> Sequence[ServedModel]:
        """Return what their repository indices hold together; a model is ready that is so on one of them.

        Servers that cannot be reached are left out, unless none can.
        """
        together: dict[str, ServedModel] = {}
        failure: MaskserveError | None = None
        answers = 0
        for server in self._servers:
            if server.rests(self._clock(), None) and answers:
                continue
            try:
                with self._busy(server, None):
                    found = server.transport.models()
            except (*_PASSED_OVER, RequestTimeout) as error:
                failure = failure or error
                continue
            answers += 1
            for model in found:
                if model.name not in together or model.state == "READY":
                    together[model.name] = model
        if not answers and failure is not None:
            raise failure
        return list(together.values())

    def close(self) -> None:
        """Close the connections to all of them."""
        for server in self._servers:
            server.transport.close()

    def _ask(self, question: Callable[[Transport], T], model: str | None = None, *, carries_image: bool = False) -> T:
        failure: Exception | None = None
        asked: set[Server] = set()
        while server := self._next(asked, model):
            asked.add(server)
            try:
                with self._busy(server, model):
                    return question(server.transport)
            except _PASSED_OVER as error:
                if error.lost and carries_image:
                    raise
                failure = failure or error
        assert failure is not None
        raise failure

    def _next(self, asked: set[Server], model: str | None) -> Server | None:
        with self._lock:
            now = self._clock()
            left = [server for server in self._servers if server not in asked]
            return min(left, key=lambda s: (s.rests(now, model), s.under_way, s.begun), default=None)

    @contextmanager
    def _busy(self, server: Server, model: str | None) -> Iterator[None]:
        with self._lock:
            server.under_way += 1
            server.begun += 1
        try:
            yield
        except (*_PASSED_OVER, RequestTimeout) as error:
            of_model = model if isinstance(error, ModelNotFound | ModelNotReady) else None
            server.rest(self._clock() + _REST_SECONDS, of_model)
            raise
        else:
            server.rested(model)
        finally:
            with self._lock:
                server.under_way -= 1
