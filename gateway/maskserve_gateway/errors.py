"""Everything that can go wrong with a request: its status, and the words that may leave the house."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maskserve.errors import (
    ImageTooLarge,
    InferenceFailed,
    InputError,
    MaskserveError,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Status and words for trouble behind the gateway. What the errors themselves say is for the log: it names addresses.
_SERVER_TROUBLE: dict[type[MaskserveError], tuple[int, str]] = {
    ServerOverloaded: (503, "too many requests are being served; try again later"),
    ServerUnavailable: (503, "the model's server cannot be reached; try again later"),
    ModelNotReady: (503, "the model cannot answer now; try again later"),
    RequestTimeout: (504, "the model gave no answer in time"),
    ModelNotFound: (502, "the model's server does not have the model"),
    InferenceFailed: (502, "the model failed on this image"),
    ServerError: (502, "the model's server refused the request"),
    MaskserveError: (500, "Internal server error"),
}
# 502, not 503: many clients and proxies send what got 503 again by themselves.
_LOST = "the model's server or process ended while it had this image, which may be the cause; it was not sent again"
_RETRY_SECONDS = 1


@dataclass(eq=False)
class Refusal(Exception):
    """Report a request that is refused, with the status and the words for its client.

    Attributes:
        status: of the HTTP answer.
        message: for the sender of the request.
        headers: of the answer.
        paddlex: whether PaddleX gives such an answer, too, so that it stays when PaddleX's are asked for.
    """

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    paddlex: bool = True


def refusal_for(error: MaskserveError) -> Refusal:
    """Return how `error` is told to a client."""
    if isinstance(error, InputError):
        return Refusal(error.status, _input_words(error), paddlex=False)
    if isinstance(error, ServerError) and error.lost:
        return Refusal(502, _LOST, paddlex=False)
    status, words = next(_SERVER_TROUBLE[kind] for kind in type(error).__mro__ if kind in _SERVER_TROUBLE)
    seconds = error.retry_after if isinstance(error, ServerOverloaded) else None
    return Refusal(status, words, _retry_after(seconds) if status == 503 else {}, paddlex=False)


def overloaded(seconds: float = _RETRY_SECONDS) -> Refusal:
    """Return the error for too many requests, some of which will be answered in so many seconds."""
    return Refusal(503, "too many requests are being served; try again later", _retry_after(seconds))


def too_slow() -> Refusal:
    """Return the error for a request whose time is over."""
    return refusal_for(RequestTimeout(""))


def body_too_large(limit: int) -> Refusal:
    """Return the error for more bytes than a request may have."""
    return Refusal(413, f"the request has more than {limit} bytes", {"Connection": "close"})


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {"Retry-After": str(max(_RETRY_SECONDS, math.ceil(seconds or 0)))}


def _input_words(error: InputError) -> str:
    """Return what the server says of an image, unless the message was made on the way and names the server."""
    if "://" not in error.message:
        return error.message
    return "the image is too large for the server" if isinstance(error, ImageTooLarge) else "the image is not accepted"
