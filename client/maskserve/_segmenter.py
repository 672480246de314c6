"""What the pipelines do, one image at a time: ask the server, and say what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from maskserve._model import Model
from maskserve.arguments import checked_batch_size, checked_headers, checked_threshold
from maskserve.errors import (
    InferenceFailed,
    InputError,
    InvalidParameter,
    MaskserveError,
    ModelNotReady,
    RequestTimeout,
    ServerUnavailable,
    printable,
)
from maskserve.inputs.sources import only_image
from maskserve.paddlex.generations import generation_named
from maskserve.results import Failure, InstanceSegResult
from maskserve.saving.outputs import Outputs
from maskserve.telemetry import current_context, request_span
from maskserve.transport.wire import ImageRequest, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from maskserve.inputs.image import InputImage
    from maskserve.transport.base import Transport
    from maskserve.transport.cancellation import Cancellation
    from maskserve.transport.wire import Tensor

OnError = Literal["raise", "skip", "return"]
# What one image may do to itself; anything else would happen to the next one, too.
_IMAGE_ERRORS = (InputError, InferenceFailed, RequestTimeout)
# A server that was there a moment ago: restarting, or its queue full. Asking again is safe unless the request was lost
# with a server or a process: it may be what ended it. After a timeout it would only be more work for a server that has
# too much.
_PASSING_ERRORS = (ServerUnavailable, ModelNotReady)
_FIRST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of every image of one `predict`."""

    model: str
    labels: tuple[str, ...]
    threshold: float | None
    class_ids: tuple[int, ...] | None
    width: int
    on_error: OnError
    headers: Mapping[str, str] = field(default_factory=dict)
    cancellation: Cancellation | None = None
    outputs: Outputs = field(default_factory=Outputs)
    trace: Any = None


@dataclass(slots=True)
class Segmenter:
    """A model on a server, and how it is to be asked.

    Attributes:
        model: the model.
        transport: the way to its server.
        threshold: instances must score higher; None for the model's own.
        concurrency: how many requests may be under way.
        generation: of PaddleX, for the results.
        retries: how often a request is repeated that the server has not seen, or refused since its queue is full.
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
        class_ids: int | Iterable[int] | None,
        labels: str | Iterable[str] | None,
        on_error: OnError,
        headers: Mapping[str, str] | None = None,
    ) -> Query:
        """Check the arguments of a `predict`, and learn of the server what it knows about its classes.

        Raises:
            InvalidParameter: an argument makes no sense.
            ServerError: the server is not there, or has no such model.
        """
        if not isinstance(on_error, str) or on_error not in ("raise", "skip", "return"):
            raise InvalidParameter(f"on_error={on_error!r}: raise, skip and return are possible")
        width = max(self.concurrency, checked_batch_size(batch_size))
        threshold = checked_threshold(self.threshold if threshold is None else threshold)
        chosen = self.model.class_ids(class_ids, labels)
        model, headers = self.model, checked_headers(headers)
        trace = current_context()
        return Query(model.name, model.labels, threshold, chosen, width, on_error, headers, trace=trace)

    def segment(
        self,
        input_image: Any,
        cancellation: Cancellation,
        *,
        threshold: float | None,
        class_ids: int | Iterable[int] | None,
        labels: str | Iterable[str] | None,
        headers: Mapping[str, str] | None,
    ) -> InstanceSegResult:
        """Segment one image, in this thread.

        Raises:
            InputError: it cannot be read, is not one image, or an argument makes no sense.
            ServerError: the server is not there, has no such model, or failed.
        """
        query = self.query(
            None, threshold=threshold, class_ids=class_ids, labels=labels, on_error="raise", headers=headers
        )
        query.outputs.sources.add(input_image)
        outcome = self.attempt(replace(query, cancellation=cancellation), only_image(input_image))
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    def attempt(self, query: Query, input_image: InputImage) -> InstanceSegResult | Failure:
        """Return the result for an image, or what is wrong with it.

        Raises:
            ServerError: it is the server's trouble, not the image's.
        """
        query.outputs.sources.add_file(input_image.input_path)
        try:
            encoded = input_image.encoded()
            with request_span(query.model, self.transport.url, query.trace, query.headers) as headers:
                request = ImageRequest(encoded, query.threshold, query.class_ids, headers, query.cancellation)
                answer = self._ask(query.model, request)
            instances = read_answer(answer, query.labels)
        except _IMAGE_ERRORS as error:
            return Failure(
                input_image.input_path, _located(error, input_image), input_image.page_index, input_image.frame_index
            )
        return InstanceSegResult(replace(input_image, outputs=query.outputs), instances, self.generation)

    def close(self) -> None:
        """Close the connections; requests under way end, and are not repeated."""
        self.closings += 1
        self.transport.close()

    def _ask(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        closings = self.closings
        for attempt in range(self.retries):
            try:
                return self.transport.infer(model, request)
            except _PASSING_ERRORS as error:
                called_off = request.cancellation and request.cancellation.called_off
                if error.lost or called_off or self.closings != closings:
                    raise
                time.sleep(_FIRST_PAUSE * 4**attempt)
        return self.transport.infer(model, request)


def wanted(outcome: InstanceSegResult | Failure, on_error: OnError) -> bool:
    """Return whether `predict` yields this outcome.

    Raises:
        MaskserveError: it is a failure, and failures are to be raised.
    """
    if isinstance(outcome, Failure) and on_error == "raise":
        raise outcome.error
    return isinstance(outcome, InstanceSegResult) or on_error == "return"


def _located(error: MaskserveError, input_image: InputImage) -> MaskserveError:
    """Return the error with the image's path in front, unless it is named there already."""
    name = printable(input_image.name)
    if input_image.input_path is None or name in error.message:
        return error
    kind = "frame" if input_image.page_index is None else "page"
    part = "" if input_image.part is None else f", {kind} {input_image.part}"
    return type(error)(f"{name}{part}: {error.message}")
