"""Questions to a running server that change nothing there: status calls and reads, over HTTP or gRPC."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Protocol

from maskserve.errors import InferenceFailed
from maskserve.transport.endpoint import Endpoint
from maskserve.transport.grpc_channel import GrpcChannel
from maskserve.transport.http_exchange import HttpExchange


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
    """Return the probe for an endpoint.

    Raises:
        InvalidParameter: its certificate authorities cannot be read.
    """
    return GrpcProbe(endpoint) if endpoint.scheme.startswith("grpc") else HttpProbe(endpoint)


class HttpProbe:
    """Asks over HTTP."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._exchange = HttpExchange(endpoint)

    def ask(self, question: Question) -> Reply:
        """See `Probe`."""
        body = b"{}" if question.method == "POST" else None
        try:
            answer = self._exchange.send(question.method, question.path, body)
        except (OSError, HTTPException, InferenceFailed) as error:
            return Reply(Outcome.NOBODY, text=str(error))
        if answer.status == HTTPStatus.OK:
            return Reply(Outcome.ANSWERED, _json(answer.content))
        refused = answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        text = answer.content[:1000].decode("utf-8", "replace")
        return Reply(Outcome.REFUSED if refused else Outcome.NO, text=text)

    def close(self) -> None:
        """See `Probe`."""
        self._exchange.close()


class GrpcProbe:
    """Asks over gRPC."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._channel = GrpcChannel(endpoint)

    def ask(self, question: Question) -> Reply:
        """See `Probe`."""
        import grpc
        from google.protobuf.json_format import MessageToDict
        from tritonclient.grpc import service_pb2

        try:
            answer = self._channel.call(question.call, getattr(service_pb2, f"{question.call}Request")())
        except grpc.RpcError as error:
            return _grpc_failure(error.code().name, error.details() or "")
        content = MessageToDict(answer, preserving_proto_field_name=True)
        if question.api == "health" and not (content.get("live") or content.get("ready")):
            return Reply(Outcome.NO, content)
        return Reply(Outcome.ANSWERED, content)

    def close(self) -> None:
        """See `Probe`."""
        self._channel.close()


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
