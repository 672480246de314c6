"""From what a protocol reports to the errors of `maskserve.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskserve.errors import (
    ImageTooLarge,
    InferenceFailed,
    MaskserveError,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerError,
    ServerUnavailable,
    from_wire,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskserve._transport import ServedModel, Transport


class RegionRefused(ServerError):
    """The server cannot have an image in shared memory. Not for users: the image is sent to it instead."""


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
    502: ServerUnavailable,
    503: ServerUnavailable,
    504: RequestTimeout,
}
# Words of Triton's own that say more than the status they come with.
_PHRASES: tuple[tuple[str, type[MaskserveError], str], ...] = (
    ("maximum queue size", ModelNotReady, "its queue is full; send fewer requests at once"),
    ("Request timeout expired", RequestTimeout, "it waited too long in the server's queue"),
    ("Stub process", ModelNotReady, "its process has died; restart the server"),
    ("is not ready", ModelNotReady, "look into the server's log"),
    ("Unable to find shared memory region", RegionRefused, "send the image instead"),
)


def from_status(status: str | int, text: str, url: str, model: str) -> MaskserveError:
    """The error for a refused request.

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
    for phrase, kind, mend in _PHRASES:
        if phrase in text:
            return kind(f"model {model} at {url} cannot answer: {mend} ({text})")
    kind = _KINDS.get(status, InferenceFailed)
    if kind is ServerUnavailable:
        return unavailable(url, text)
    if kind is RequestTimeout:
        return timed_out(url, model)
    return kind(f"{model} at {url}: {text or status}")


def unavailable(url: str, reason: str) -> ServerUnavailable:
    """Nothing answers at `url`, or nothing that can be trusted."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return ServerUnavailable(f"the certificate of {url} is not trusted ({reason}); ca_file= names its authority")
    mend = "start one with `maskserve serve`, or name another with url= or MASKSERVE_URL"
    return ServerUnavailable(f"no server answers at {url} ({reason.strip() or 'connection failed'}); {mend}")


def timed_out(url: str, model: str) -> RequestTimeout:
    """The time for one request is over."""
    return RequestTimeout(f"{model} at {url} gave no answer in time; timeout= allows more")


def missing_model(model: str, transport: Transport) -> MaskserveError:
    """The server says that it does not have `model`: its repository index knows which of the reasons it is."""
    try:
        served = transport.models()
    except ServerError as error:  # an index may be closed to clients
        return ModelNotFound(f"the server at {transport.url} has no model {model!r} (nor a list of models: {error})")
    for entry in served:
        if entry.name == model and entry.state != "READY":
            reason = entry.reason or "no reason given"
            return ModelNotReady(f"{model} at {transport.url} is {entry.state or 'not loaded'}: {reason}")
    names = ", ".join(entry_points(served)) or "no model at all"
    return ModelNotFound(f"the server at {transport.url} has no model {model!r}; it has {names}")


def entry_points(served: Sequence[ServedModel]) -> list[str]:
    """The models that clients call: without the steps (``NAME.core``, ...) that an ensemble consists of."""
    names = {entry.name for entry in served}
    return sorted(name for name in names if name.rpartition(".")[0] not in names)
