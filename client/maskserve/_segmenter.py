"""What the pipelines do, one picture at a time: ask the server, and say what came of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from maskserve._generations import generation_named
from maskserve._model import Model
from maskserve._wire import ImageRequest, read_answer
from maskserve.errors import (
    InferenceFailed,
    InputError,
    InvalidParameter,
    MaskserveError,
    ModelNotReady,
    RequestTimeout,
    ServerUnavailable,
)
from maskserve.results import Failure, InstanceSegResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from maskserve._cancellation import Cancellation
    from maskserve._pictures import Picture
    from maskserve._transport import Transport
    from maskserve._wire import Tensor

OnError = Literal["raise", "skip", "return"]
# What one picture may do to itself; anything else would happen to the next one, too.
_PICTURE_ERRORS = (InputError, InferenceFailed, RequestTimeout)
# A server that was there a moment ago: restarting, or its queue full. Segmenting changes nothing there, so that asking
# again is safe; after a timeout it would only be more work for a server that has too much.
_PASSING_ERRORS = (ServerUnavailable, ModelNotReady)
_FIRST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of every picture of one `predict`."""

    model: str
    labels: tuple[str, ...]
    threshold: float | None
    class_ids: tuple[int, ...] | None
    width: int
    on_error: OnError
    headers: Mapping[str, str] = field(default_factory=dict)
    cancellation: Cancellation | None = None


@dataclass(slots=True)
class Segmenter:
    """A model on a server, and how it is to be asked.

    Attributes:
        model: the model.
        transport: the way to its server.
        threshold: instances must score higher; None for the model's own.
        concurrency: how many requests may be under way.
        generation: of PaddleX, for the results.
        retries: how often a request is repeated when the server is gone for a moment.
        closings: how often it was closed.
    """

    model: Model
    transport: Transport
    threshold: float | None
    concurrency: int
    generation: str
    retries: int
    closings: int = 0

    def __post_init__(self) -> None:
        generation_named(self.generation)

    def query(
        self,
        batch_size: int | None,
        *,
        threshold: float | None,
        class_ids: Iterable[int] | None,
        labels: Iterable[str] | None,
        on_error: OnError,
        headers: Mapping[str, str] | None = None,
    ) -> Query:
        """Check the arguments of a `predict`, and learn of the server what it knows about its classes.

        Raises:
            InvalidParameter: an argument makes no sense.
            ServerError: the server is not there, or has no such model.
        """
        if on_error not in ("raise", "skip", "return"):
            raise InvalidParameter(f"on_error={on_error!r}: raise, skip and return are possible")
        width = max(self.concurrency, checked_batch_size(batch_size))
        threshold = checked_threshold(self.threshold if threshold is None else threshold)
        chosen = self.model.class_ids(class_ids, labels)
        return Query(self.model.name, self.model.labels, threshold, chosen, width, on_error, dict(headers or {}))

    def attempt(self, query: Query, picture: Picture) -> InstanceSegResult | Failure:
        """The result for a picture, or what is wrong with it.

        Raises:
            ServerError: it is the server's trouble, not the picture's.
        """
        try:
            request = ImageRequest(
                picture.encoded(), query.threshold, query.class_ids, query.headers, query.cancellation
            )
            instances = read_answer(self._ask(query.model, request), query.labels)
        except _PICTURE_ERRORS as error:
            return Failure(picture.input_path, _located(error, picture))
        return InstanceSegResult(picture, instances, self.generation)

    def close(self) -> None:
        """Close the connections; requests under way end, and are not repeated."""
        self.closings += 1
        self.transport.close()

    def _ask(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        closings = self.closings
        for attempt in range(self.retries):
            try:
                return self.transport.infer(model, request)
            except _PASSING_ERRORS:
                if self.closings != closings or (request.cancellation and request.cancellation.called_off):
                    raise
                time.sleep(_FIRST_PAUSE * 4**attempt)
        return self.transport.infer(model, request)


def wanted(outcome: InstanceSegResult | Failure, on_error: OnError) -> bool:
    """Whether `predict` yields this outcome.

    Raises:
        MaskserveError: it is a failure, and failures are to be raised.
    """
    if isinstance(outcome, Failure) and on_error == "raise":
        raise outcome.error
    return isinstance(outcome, InstanceSegResult) or on_error == "return"


def checked_threshold(value: Any) -> float | None:
    """`value` as a threshold.

    Raises:
        InvalidParameter: it is no number.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, str | bool) or not math.isfinite(number):
        raise InvalidParameter(f"threshold={value!r} is not a number between 0 and 1")
    return number


def checked_batch_size(value: object) -> int:
    """`value` as a number of requests; None is 1.

    Raises:
        InvalidParameter: it is none.
    """
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
        raise InvalidParameter(f"batch_size={value!r} is not a number between 1 and 256")
    return value


def _located(error: MaskserveError, picture: Picture) -> MaskserveError:
    """The error with the picture's path in front, unless it is named there already."""
    path = picture.input_path
    if path is None or path in error.message:
        return error
    page = "" if picture.page_index is None else f", page {picture.page_index}"
    return type(error)(f"{path}{page}: {error.message}")
