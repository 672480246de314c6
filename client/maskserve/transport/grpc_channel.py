"""gRPC calls to one server and their answers, before anybody says what they mean."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from maskserve.errors import InvalidParameter
from maskserve.transport.endpoint import LOOPBACK
from maskserve.transport.fork import fork_gate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maskserve.transport.cancellation import Cancellation
    from maskserve.transport.endpoint import Endpoint

_MAX_REQUEST = 2**31 - 1
_MAX_ANSWER = 64 << 20


class GrpcChannel:
    """Calls methods of Triton's gRPC service. All threads of a process share one channel, opened by the first call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._process = 0
        self._channel: Any = None
        self._stub: Any = None

    def call(
        self,
        method: str,
        message: Any,
        headers: Mapping[str, str] | None = None,
        *,
        cancellation: Cancellation | None = None,
    ) -> Any:
        """Call `method` of the service with its request message; gives the answer's message.

        Raises:
            grpc.RpcError: the call failed.
            ValueError: another thread closed the channel meanwhile.
            grpc.FutureCancelledError: `cancellation` called it off, or another thread closed the channel.
            InvalidParameter: the file of certificate authorities cannot be read.
        """
        metadata = [(name.lower(), value) for name, value in {**self._endpoint.headers, **(headers or {})}.items()]
        options = {"timeout": self._endpoint.timeout, "metadata": metadata}
        with fork_gate.request():
            call = getattr(self._open(), method)
            if cancellation is None:
                return call(message, **options)
            future = call.future(message, **options)
            with cancellation.watched(future.cancel):
                return future.result()

    def close(self) -> None:
        """Close the channel; calls under way end with one of the errors that `call` raises."""
        with fork_gate.request(), self._lock:
            channel, self._channel, self._stub = self._channel, None, None
            if channel is not None and self._process == os.getpid():
                channel.close()

    def _open(self) -> Any:
        with self._lock:
            if self._stub is None or self._process != os.getpid():
                from tritonclient.grpc import service_pb2_grpc

                self._channel = _open_channel(self._endpoint)
                self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
                self._process = os.getpid()
            return self._stub


def _open_channel(endpoint: Endpoint) -> Any:
    import grpc

    options = [
        ("grpc.max_send_message_length", _MAX_REQUEST),
        ("grpc.max_receive_message_length", _MAX_ANSWER),
        # gRPC's name for the time one attempt to connect may take; its default of 20 s is a long time to wait for
        # the news that the address is wrong
        ("grpc.min_reconnect_backoff_ms", int(endpoint.connect_timeout * 1000)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # a server that is started again is back in seconds
        ("grpc.max_reconnect_backoff_ms", min(1000, int(endpoint.connect_timeout * 1000))),
        ("grpc.enable_http_proxy", 0 if endpoint.host in LOOPBACK else 1),
    ]
    if endpoint.scheme == "grpc":
        return grpc.insecure_channel(endpoint.address, options)
    authorities = _read(endpoint.ca_file) if endpoint.ca_file else None
    return grpc.secure_channel(endpoint.address, grpc.ssl_channel_credentials(authorities), options)


def _read(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidParameter(f"the certificate file {path} cannot be read: {error.strerror}") from None
