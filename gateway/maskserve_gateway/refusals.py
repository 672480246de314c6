"""Everything that can go wrong with a request: its status, and the words that may leave the house."""

from __future__ import annotations

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
    ServerUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Status and words for trouble behind the gateway. What the errors themselves say is for the log: it names addresses.
_SERVER_TROUBLE: dict[type[MaskserveError], tuple[int, str]] = {
    ServerUnavailable: (503, "the model's server cannot be reached; try again later"),
    ModelNotReady: (503, "the model cannot answer now; try again later"),
    RequestTimeout: (504, "the model gave no answer in time"),
    ModelNotFound: (502, "the model's server does not have the model"),
    InferenceFailed: (502, "the model failed on this image"),
    ServerError: (502, "the model's server refused the request"),
    MaskserveError: (500, "Internal server error"),
}
_RETRY_SECONDS = 1


@dataclass(eq=False)
class Refusal(Exception):
    """A request that is not answered as it hoped to be.

    Attributes:
        status: of the HTTP answer.
        message: for whoever sent the request.
        headers: of the answer.
        paddlex: whether PaddleX gives such an answer, too, so that it stays when PaddleX's are asked for.
    """

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    paddlex: bool = True


def refusal_for(error: MaskserveError) -> Refusal:
    """How `error` is told to a client."""
    if isinstance(error, InputError):
        return Refusal(error.status, _input_words(error), paddlex=False)
    status, words = next(_SERVER_TROUBLE[kind] for kind in type(error).__mro__ if kind in _SERVER_TROUBLE)
    return Refusal(status, words, _retry_after() if status == 503 else {}, paddlex=False)


def overloaded() -> Refusal:
    """There are too many requests already."""
    return Refusal(503, "too many requests are being served; try again later", _retry_after())


def too_slow() -> Refusal:
    """The time for one request is over."""
    return refusal_for(RequestTimeout(""))


def body_too_large(limit: int) -> Refusal:
    """More bytes than a request may have."""
    return Refusal(413, f"the request has more than {limit} bytes", {"Connection": "close"})


def _retry_after() -> dict[str, str]:
    return {"Retry-After": str(_RETRY_SECONDS)}


def _input_words(error: InputError) -> str:
    """What the server says of a picture, unless the message was made on the way and names the server."""
    if "://" not in error.message:
        return error.message
    return "the image is too large for the server" if isinstance(error, ImageTooLarge) else "the image is not accepted"
