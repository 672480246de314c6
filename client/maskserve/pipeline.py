"""The pipeline: images in, results out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from maskserve._concurrency import in_order
from maskserve._model import Model
from maskserve._segmenter import OnError, Segmenter, wanted
from maskserve.arguments import NOT_GIVEN, one_input
from maskserve.inputs.sources import images
from maskserve.paddlex.generations import DEFAULT
from maskserve.results import Failure, InstanceSegResult
from maskserve.transport.cancellation import Cancellation

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from typing import NoReturn

    from maskserve.transport.base import Transport


class Pipeline:
    """Call a model on a server as if it were local. `create_pipeline` makes one.

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
        """Return the model's name on the server."""
        return self._segmenter.model.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the class names, by class index."""
        return self._segmenter.model.labels

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return self._segmenter.transport.url

    @overload
    def predict(
        self,
        input: Any = ...,
        batch_size: int | None = ...,
        *,
        x: Any = ...,
        threshold: float | None = ...,
        class_ids: int | Iterable[int] | None = ...,
        labels: str | Iterable[str] | None = ...,
        on_error: Literal["raise", "skip"] = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> Generator[InstanceSegResult, None, None]: ...
    @overload
    def predict(
        self,
        input: Any = ...,
        batch_size: int | None = ...,
        *,
        x: Any = ...,
        threshold: float | None = ...,
        class_ids: int | Iterable[int] | None = ...,
        labels: str | Iterable[str] | None = ...,
        on_error: Literal["return"],
        headers: Mapping[str, str] | None = ...,
    ) -> Generator[InstanceSegResult | Failure, None, None]: ...
    def predict(
        self,
        input: Any = NOT_GIVEN,
        batch_size: int | None = None,
        *,
        x: Any = NOT_GIVEN,
        threshold: float | None = None,
        class_ids: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        on_error: OnError = "raise",
        headers: Mapping[str, str] | None = None,
    ) -> Generator[InstanceSegResult | Failure, None, None]:
        """Segment images, one result for each, in the order of the input. Nothing happens before the iteration.

        Args:
            input: an array [h, w, 3] uint8 in BGR, a path, a URL, a directory, a PDF file, the bytes of an image
                file, a PIL image, a dict with one of them under "img", or any iterable of these.
            batch_size: how many requests may be under way at once, where that is more than the pipeline's own number;
                the server makes batches of them by itself.
            x: what PaddleX's documentation calls `input`; one of both.
            threshold: from 0 to 1; instances must score higher. None for the pipeline's, or else the model's own.
            class_ids: keep only this class or these.
            labels: keep only the classes of this name or these (with `class_ids`: those, too).
            on_error: what to do about an image that cannot be segmented: "raise" the error, "skip" it, or "return" a
                `Failure` in its place. Where the server itself is the trouble, the error is always raised.
            headers: sent with these requests, besides the pipeline's own; gRPC calls them metadata.

        Yields:
            results.

        Raises:
            InputError: an image cannot be read, or an argument makes no sense.
            ServerError: the server is not there, has no such model, or failed.
        """
        query = self._segmenter.query(
            batch_size, threshold=threshold, class_ids=class_ids, labels=labels, on_error=on_error, headers=headers
        )
        source = one_input(input, x)
        del input, x  # whoever iterates it has the last reference, and closes it
        query.outputs.sources.add(source)
        cancellation = Cancellation()
        attempt = partial(self._segmenter.attempt, replace(query, cancellation=cancellation))
        found = images(source)
        del source
        try:
            with closing(in_order(attempt, found, query.width)) as outcomes:
                del found
                for outcome in outcomes:
                    if wanted(outcome, on_error):
                        yield outcome
        finally:  # whoever stops iterating waits for no answer, at the end of the program neither
            cancellation.call_off()

    __call__ = predict

    def segment(
        self,
        image: Any,
        *,
        threshold: float | None = None,
        class_ids: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> InstanceSegResult:
        """Segment one image. The work is done in the calling thread, and no other is started.

        Args:
            image: whatever `predict` takes that is one image: an array [h, w, 3] uint8 in BGR, a path, a URL,
                the bytes of an image file, a PIL image. A directory, a file of several pages and a list of several
                images are refused.
            threshold: from 0 to 1; instances must score higher. None for the pipeline's, or else the model's own.
            class_ids: keep only this class or these.
            labels: keep only the classes of this name or these (with `class_ids`: those, too).
            headers: sent with this request, besides the pipeline's own; gRPC calls them metadata.

        Raises:
            InputError: the image cannot be read, `image` is not one image, or an argument makes no sense.
            ServerError: the server is not there, has no such model, or failed.
        """
        cancellation = Cancellation()
        try:
            return self._segmenter.segment(
                image, cancellation, threshold=threshold, class_ids=class_ids, labels=labels, headers=headers
            )
        finally:  # whoever interrupts it wants no answer
            cancellation.call_off()

    def close(self) -> None:
        """Close the connections; requests under way end. The next `predict` opens them again.

        A server that was started for this pipeline is stopped, and stays so.
        """
        self._segmenter.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pipeline cannot be copied or pickled: make one in each process, with create_pipeline")

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
