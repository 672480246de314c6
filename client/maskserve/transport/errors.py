"""From what a protocol reports to the errors of `maskserve.errors`."""

from __future__ import annotations

import difflib
import http.client
import re
from typing import TYPE_CHECKING

from maskserve.contract import model_of
from maskserve.errors import (
    ImageTooLarge,
    InferenceFailed,
    MaskserveError,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
    from_wire,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskserve.transport.base import ServedModel, Transport


class RegionRefused(ServerError):
    """Report that the server cannot map an image in shared memory. Not for users: the image is sent instead."""


_NAMED = 10  # models of a server, in a message

# By gRPC status name and by HTTP status; what is in neither is a failed inference.
_KINDS: dict[str | int, type[MaskserveError]] = {
    "NOT_FOUND": ModelNotFound,
    "UNAVAILABLE": ServerUnavailable,
    "CANCELLED": ServerUnavailable,
    "DEADLINE_EXCEEDED": RequestTimeout,
    "RESOURCE_EXHAUSTED": ImageTooLarge,
    "UNAUTHENTICATED": ServerError,
    "PERMISSION_DENIED": ServerError,
    401: ServerError,
    403: ServerError,
    404: ModelNotFound,
    408: RequestTimeout,
    413: ImageTooLarge,
    429: ServerOverloaded,
    502: ServerUnavailable,
    503: ServerUnavailable,
    504: RequestTimeout,
}
_DEAD_PROCESS = "Stub process"  # perhaps of this very request
# What is said of a request that no server has seen: by gRPC, by Envoy, by Triton when it stops.
_NOT_SEEN = re.compile(
    r"failed to connect|connection refused|connection fail|connect error: |name resolution|DNS resolution"
    r"|no healthy upstream|no route to host|network is unreachable|upstream overflow|server is stopping"
    r"|stopped accepting new",
    re.IGNORECASE,
)
# Words of Triton's own that say more than the status they come with.
_PHRASES: tuple[tuple[str, type[MaskserveError], str], ...] = (
    ("maximum queue size", ServerOverloaded, "its queue is full; send fewer requests at once"),
    ("Request timeout expired", RequestTimeout, "it waited too long in the server's queue"),
    (
        _DEAD_PROCESS,
        ModelNotReady,
        "its process has died; `maskserve serve` starts it again, ask again in a few seconds",
    ),
    ("is not ready", ModelNotReady, "look into the server's log"),
    (
        "--http-max-input-size",
        ImageTooLarge,
        "the request is too large for HTTP; send a JPEG file, or ask over grpc://",
    ),
    ("Payload Too Large", ImageTooLarge, "the request is too large for a proxy in front of it; send a JPEG file"),
    ("Unable to find shared memory region", RegionRefused, "send the image instead"),
)


def from_status(status: str | int, text: str, url: str, model: str) -> MaskserveError:
    """Return the error for a refused request.

    Args:
        status: name of the gRPC status, or HTTP status.
        text: what came with it.
        url: the server.
        model: the model that was asked.
    """
    known = from_wire(text)
    if known is not None:
        return known
    if "Received http2 header" in text:
        return unavailable(url, "what answers there does not speak gRPC")
    for phrase, kind, fix in _PHRASES:
        if phrase in text:
            error = kind(f"model {model} at {url} cannot answer: {fix} ({text})")
            return lost(error) if isinstance(error, ServerError) and phrase == _DEAD_PROCESS else error
    kind = _KINDS.get(status, InferenceFailed)
    said = text.strip() or (f"it answers with status {status}" if isinstance(status, int) else "")
    if kind is ServerUnavailable:
        return unavailable(url, said) if _unseen(status, text) else lost(unavailable(url, said))
    if kind is RequestTimeout:
        return timed_out(url, model)
    return kind(f"{model} at {url}: {said or status}")


def lost(error: ServerError) -> ServerError:
    """Return an error that says that its request may be the cause, see `ServerError`."""
    error.lost = True
    return error


def _unseen(status: str | int, text: str) -> bool:
    """Return whether no server has seen the request: it says so, or a proxy has no server for it."""
    if _NOT_SEEN.search(text):
        return True
    return status == http.client.SERVICE_UNAVAILABLE and "reset before headers" not in text


def unavailable(url: str, reason: str) -> ServerUnavailable:
    """Return the error for a `url` where nothing answers, or nothing that can be trusted."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return ServerUnavailable(f"the certificate of {url} is not trusted ({reason}); ca_file= names its authority")
    fix = "start one with `maskserve serve`, or name another with url= or MASKSERVE_URL"
    return ServerUnavailable(f"no server answers at {url} ({reason.strip() or 'connection failed'}); {fix}")


def timed_out(url: str, model: str) -> RequestTimeout:
    """Return the error for a request whose time is over."""
    return RequestTimeout(f"{model} at {url} gave no answer in time; timeout= allows more")


def missing_model(model: str, transport: Transport) -> MaskserveError:
    """Return the error for a server that does not have `model`; its repository index says why."""
    try:
        served = transport.models()
    except ServerError as error:  # an index may be closed to clients
        return ModelNotFound(f"the server at {transport.url} has no model {model!r} (nor a list of models: {error})")
    for entry in served:
        if entry.name == model and entry.state != "READY":
            reason = entry.reason or "no reason given"
            return ModelNotReady(f"{model} at {transport.url} is {entry.state or 'not loaded'}: {reason}")
    known = entry_points(served)
    close = difflib.get_close_matches(model, known, n=2)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    names = listed(known, _NAMED) or "no model at all"
    return ModelNotFound(f"the server at {transport.url} has no model {model!r}; it has {names}{meant}")


def entry_points(served: Sequence[ServedModel]) -> list[str]:
    """Return the models that clients call: without the steps (``NAME.core``, ...) that an ensemble consists of."""
    names = {entry.name for entry in served}
    return sorted(name for name in names if model_of(name) not in names)
