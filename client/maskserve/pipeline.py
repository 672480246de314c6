"""The pipeline: pictures in, results out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from maskserve._generations import DEFAULT
from maskserve._inflight import in_order
from maskserve._inputs import pictures
from maskserve._model import Model
from maskserve._segmenter import OnError, Segmenter, wanted
from maskserve.results import Failure, InstanceSegResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from maskserve._transport import Transport


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
        retries: int = 2,
    ) -> None:
        model_there = Model(model, transport)
        self._segmenter = Segmenter(model_there, transport, threshold, concurrency, generation, retries)

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self._segmenter.model.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, by class index."""
        return self._segmenter.model.labels

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._segmenter.transport.url

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
        headers: Mapping[str, str] | None = ...,
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
        headers: Mapping[str, str] | None = ...,
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
        headers: Mapping[str, str] | None = None,
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
            headers: sent with these requests, besides the pipeline's own; gRPC calls them metadata.

        Yields:
            results.

        Raises:
            InputError: a picture cannot be read, or an argument makes no sense.
            ServerError: the server is not there, has no such model, or failed.
        """
        query = self._segmenter.query(
            batch_size, threshold=threshold, class_ids=class_ids, labels=labels, on_error=on_error, headers=headers
        )
        for outcome in in_order(partial(self._segmenter.attempt, query), pictures(input), query.width):
            if wanted(outcome, on_error):
                yield outcome

    __call__ = predict

    def close(self) -> None:
        """Close the connections; requests under way end. The next `predict` opens them again.

        A server that was started for this pipeline is stopped, and stays so.
        """
        self._segmenter.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
