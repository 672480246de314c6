"""Questions to a running server that change nothing there: status calls and reads, over HTTP or gRPC."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

from maskserve._endpoint import Endpoint
from maskserve.errors import ToolError


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask.

    Attributes:
        api: the group it belongs to, by the name that Triton's flags for restricting have for it.
        method: of HTTP.
        path: of HTTP.
        call: the name of the gRPC method; its message is asked without any field set, which reads and sets nothing.
    """

    api: str
    method: str
    path: str
    call: str


LIVE = Question("health", "GET", "/v2/health/live", "ServerLive")
READY = Question("health", "GET", "/v2/health/ready", "ServerReady")
METADATA = Question("metadata", "GET", "/v2", "ServerMetadata")
REPOSITORY = Question("model-repository", "POST", "/v2/repository/index", "RepositoryIndex")
SHARED_MEMORY = Question("shared-memory", "GET", "/v2/systemsharedmemory/status", "SystemSharedMemoryStatus")
TRACE = Question("trace", "GET", "/v2/trace/setting", "TraceSetting")
LOGGING = Question("logging", "GET", "/v2/logging", "LogSettings")


class Outcome(Enum):
    """What became of a question."""

    ANSWERED = "answered"
    NO = "no"  # or an error
    REFUSED = "refused"  # a key is wanted
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        outcome: what became of the question.
        content: the answer's fields, or {}.
        text: the reason where it is no answer.
    """

    outcome: Outcome
    content: Any = None
    text: str = ""


class Probe(Protocol):
    """A way to ask."""

    def ask(self, question: Question) -> Reply:
        """Ask; whatever happens is a reply."""

    def close(self) -> None:
        """Close the connection."""


def open_probe(endpoint: Endpoint) -> Probe:
    """The probe for an endpoint.

    Raises:
        ToolError: its certificate authorities cannot be read.
    """
    return GrpcProbe(endpoint) if endpoint.scheme.startswith("grpc") else HttpProbe(endpoint)


class HttpProbe:
    """Asks over HTTP, on a connection of its own each time, and never through a proxy."""

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            trust = ssl.create_default_context(cafile=endpoint.ca_file)
        except OSError as error:
            raise ToolError(f"the certificate file {endpoint.ca_file} cannot be read: {error}") from error
        self._endpoint = endpoint
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, question: Question) -> Reply:
        """See `Probe`."""
        body = b"{}" if question.method == "POST" else None
        request = urllib.request.Request(self._endpoint.url + question.path, body, method=question.method)
        try:
            with self._opener.open(request, timeout=self._endpoint.timeout) as response:
                return Reply(Outcome.ANSWERED, _json(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(1000).decode("utf-8", "replace")
            return Reply(Outcome.REFUSED if error.code in (401, 403) else Outcome.NO, text=text)
        except (OSError, HTTPException) as error:
            return Reply(Outcome.NOBODY, text=str(getattr(error, "reason", error)))

    def close(self) -> None:
        """See `Probe`: there is no connection to close."""


class GrpcProbe:
    """Asks over gRPC."""

    def __init__(self, endpoint: Endpoint) -> None:
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        self._timeout = endpoint.timeout
        self._channel = _channel(endpoint)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._error = grpc.RpcError

    def ask(self, question: Question) -> Reply:
        """See `Probe`."""
        from google.protobuf.json_format import MessageToDict
        from tritonclient.grpc import service_pb2

        message = getattr(service_pb2, f"{question.call}Request")()
        try:
            answer = getattr(self._stub, question.call)(message, timeout=self._timeout)
        except self._error as error:
            return _grpc_failure(error.code().name, error.details() or "")
        content = MessageToDict(answer, preserving_proto_field_name=True)
        if question.api == "health" and not (content.get("live") or content.get("ready")):
            return Reply(Outcome.NO, content)
        return Reply(Outcome.ANSWERED, content)

    def close(self) -> None:
        """See `Probe`."""
        self._channel.close()


def _channel(endpoint: Endpoint) -> Any:
    import grpc

    if endpoint.scheme == "grpc":
        return grpc.insecure_channel(endpoint.address, [("grpc.enable_http_proxy", 0)])
    try:
        authorities = Path(endpoint.ca_file).read_bytes() if endpoint.ca_file else None
    except OSError as error:
        raise ToolError(f"the certificate file {endpoint.ca_file} cannot be read: {error.strerror}") from error
    return grpc.secure_channel(endpoint.address, grpc.ssl_channel_credentials(authorities))


def _grpc_failure(status: str, text: str) -> Reply:
    # Triton refuses what is restricted with UNAVAILABLE, as it would be when nobody were there.
    if "protocol is restricted" in text or status in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return Reply(Outcome.REFUSED, text=text)
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return Reply(Outcome.NOBODY, text=text or status)
    return Reply(Outcome.NO, text=text or status)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
