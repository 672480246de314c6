"""The pipeline: pictures in, results out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from maskserve._generations import DEFAULT, generation_named
from maskserve._inflight import in_order
from maskserve._inputs import pictures
from maskserve._model import Model
from maskserve._wire import ImageRequest, read_answer
from maskserve.errors import InferenceFailed, InputError, InvalidParameter, MaskserveError, RequestTimeout
from maskserve.results import Failure, InstanceSegResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maskserve._pictures import Picture
    from maskserve._transport import Transport

OnError = Literal["raise", "skip", "return"]
# What one picture may do to itself; anything else would happen to the next one, too.
_PICTURE_ERRORS = (InputError, InferenceFailed, RequestTimeout)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of every picture of one `predict`."""

    model: str
    labels: tuple[str, ...]
    threshold: float | None
    class_ids: tuple[int, ...] | None
    width: int
    on_error: OnError


class Pipeline:
    """A model on a server, called as if it were local. Made by `create_pipeline`.

    Threads may share it, and a forked process may go on using it.
    """

    def __init__(
        self,
        model: str,
        transport: Transport,
        *,
        threshold: float | None = None,
        concurrency: int = 4,
        generation: str = DEFAULT,
    ) -> None:
        generation_named(generation)
        self._generation = generation
        self._transport = transport
        self._model = Model(model, transport)
        self._threshold = threshold
        self._concurrency = concurrency

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self._model.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, by class index."""
        return self._model.labels

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._transport.url

    @overload
    def predict(
        self,
        input: Any,
        batch_size: int | None = ...,
        *,
        threshold: float | None = ...,
        class_ids: Iterable[int] | None = ...,
        labels: Iterable[str] | None = ...,
        on_error: Literal["raise", "skip"] = ...,
    ) -> Iterator[InstanceSegResult]: ...
    @overload
    def predict(
        self,
        input: Any,
        batch_size: int | None = ...,
        *,
        threshold: float | None = ...,
        class_ids: Iterable[int] | None = ...,
        labels: Iterable[str] | None = ...,
        on_error: Literal["return"],
    ) -> Iterator[InstanceSegResult | Failure]: ...
    def predict(
        self,
        input: Any,
        batch_size: int | None = None,
        *,
        threshold: float | None = None,
        class_ids: Iterable[int] | None = None,
        labels: Iterable[str] | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[InstanceSegResult | Failure]:
        """Segment pictures, one result for each, in the order of the input. Nothing happens before the iteration.

        Args:
            input: an array [h, w, 3] uint8 in BGR, a path, a URL, a directory, a PDF file, the bytes of an image
                file, a PIL image, a dict with one of them under "img", or any iterable of these.
            batch_size: how many requests may be under way at once, where that is more than the pipeline's own number;
                the server makes batches of them by itself.
            threshold: instances must score higher; None for the pipeline's, or else the model's own.
            class_ids: keep only these classes.
            labels: keep only the classes of these names (with `class_ids`: those, too).
            on_error: what to do about a picture that cannot be segmented: "raise" the error, "skip" it, or "return" a
                `Failure` in its place. Where the server itself is the trouble, the error is always raised.

        Yields:
            results.

        Raises:
            InputError: a picture cannot be read, or an argument makes no sense.
            ServerError: the server is not there, has no such model, or failed.
        """
        query = self._query(batch_size, threshold, class_ids, labels, on_error)
        for outcome in in_order(partial(self._attempt, query), pictures(input), query.width):
            if isinstance(outcome, InstanceSegResult) or query.on_error == "return":
                yield outcome
            elif query.on_error == "raise":
                raise outcome.error

    __call__ = predict

    def close(self) -> None:
        """Close the connections; requests under way end. The next `predict` opens them again."""
        self._transport.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _query(
        self,
        batch_size: int | None,
        threshold: float | None,
        class_ids: Iterable[int] | None,
        labels: Iterable[str] | None,
        on_error: OnError,
    ) -> Query:
        if on_error not in ("raise", "skip", "return"):
            raise InvalidParameter(f"on_error={on_error!r}: raise, skip and return are possible")
        width = max(self._concurrency, checked_batch_size(batch_size))
        threshold = checked_threshold(self._threshold if threshold is None else threshold)
        chosen = self._model.class_ids(class_ids, labels)
        return Query(self._model.name, self._model.labels, threshold, chosen, width, on_error)

    def _attempt(self, query: Query, picture: Picture) -> InstanceSegResult | Failure:
        try:
            return self._segment(query, picture)
        except _PICTURE_ERRORS as error:
            return Failure(picture.input_path, _located(error, picture))

    def _segment(self, query: Query, picture: Picture) -> InstanceSegResult:
        request = ImageRequest(picture.encoded(), query.threshold, query.class_ids)
        answer = self._transport.infer(query.model, request)
        return InstanceSegResult(picture, read_answer(answer, query.labels), self._generation)


def checked_threshold(value: object) -> float | None:
    """`value` as a threshold.

    Raises:
        InvalidParameter: it is no number.
    """
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever has no float raises TypeError
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
