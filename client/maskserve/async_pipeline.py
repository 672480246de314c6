"""The pipeline for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from maskserve._concurrency import GRACE, AsyncFeeder
from maskserve._segmenter import OnError, wanted
from maskserve.arguments import NOT_GIVEN, one_input
from maskserve.inputs.image import InputImage
from maskserve.inputs.source_thread import SourceThread
from maskserve.inputs.sources import images, only_image
from maskserve.transport.cancellation import Cancellation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from maskserve.pipeline import Pipeline
    from maskserve.results import Failure, InstanceSegResult


class AsyncPipeline:
    """Wrap a pipeline for ``async for``. The event loop stays free meanwhile.

    Args:
        pipeline: the pipeline that does the work, as `create_pipeline` makes it; it is closed with this one.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

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
    ) -> AsyncGenerator[InstanceSegResult, None]: ...
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
    ) -> AsyncGenerator[InstanceSegResult | Failure, None]: ...
    async def predict(
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
    ) -> AsyncGenerator[InstanceSegResult | Failure, None]:
        """Segment images, one result for each, in the order of the input. Nothing happens before the iteration.

        Args:
            input: whatever `Pipeline.predict` takes, or an asynchronous iterable of it.
            batch_size: as there, and so are the others.
            x: another name of `input`; one of both.
            threshold: instances must score higher.
            class_ids: keep only this class or these.
            labels: keep only the classes of this name or these.
            on_error: "raise", "skip" or "return".
            headers: sent with these requests.

        Yields:
            results.

        Raises:
            InputError: an image cannot be read, or an argument makes no sense.
            ServerError: the server is not there, has no such model, or failed.
        """
        segmenter = self._pipeline._segmenter
        query = await asyncio.to_thread(
            segmenter.query,
            batch_size,
            threshold=threshold,
            class_ids=class_ids,
            labels=labels,
            on_error=on_error,
            headers=headers,
        )
        source = one_input(input, x)
        del input, x  # whoever iterates it has the last reference, and closes it
        query.outputs.sources.add(source)
        cancellation = Cancellation()
        attempt = partial(segmenter.attempt, replace(query, cancellation=cancellation))
        feeder = AsyncFeeder(attempt, _images(source), query.width)
        del source
        try:
            while (future := await feeder.following()) is not None:
                outcome = await future
                if wanted(outcome, on_error):
                    yield outcome
                feeder.done_with_one()
        finally:  # whoever stops iterating wants no more of the server's time
            cancellation.call_off()
            await feeder.close()

    __call__ = predict

    async def segment(
        self,
        image: Any,
        *,
        threshold: float | None = None,
        class_ids: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> InstanceSegResult:
        """Segment one image. A thread of the loop's executor does the work. Cancelling calls the request off.

        Args:
            image: whatever `Pipeline.predict` takes that is one image: an array [h, w, 3] uint8 in BGR, a path, a URL,
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
        # in memory: taken at once, before another task of the loop can change it
        taken = only_image(image) if isinstance(image, np.ndarray | InputImage) else image
        cancellation = Cancellation()
        work = partial(self._pipeline._segmenter.segment, taken, cancellation)
        try:
            return await asyncio.to_thread(
                work, threshold=threshold, class_ids=class_ids, labels=labels, headers=headers
            )
        finally:  # who was cancelled wants no more of the server's time
            cancellation.call_off()

    async def close(self) -> None:
        """Close the connections, as `Pipeline.close` does; requests under way end."""
        await asyncio.to_thread(self._pipeline.close)

    async def __aenter__(self) -> AsyncPipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _images(source: Any) -> AsyncGenerator[InputImage, None]:
    """Give `images` to an event loop: what may block (directories, iterators, decoding) is done on one other thread."""
    thread = SourceThread()
    taken = _taken(source, thread)
    del source
    try:
        async with aclosing(taken):
            async for input_image in taken:
                yield input_image
    finally:
        thread.close()


async def _taken(source: Any, thread: SourceThread) -> AsyncGenerator[InputImage, None]:
    if isinstance(source, AsyncIterable):
        async for element in source:
            # files are read before the source goes on, as those from any other iterator
            as_it_is = isinstance(element, AsyncIterable | InputImage) or _is_pixels(element)
            async with aclosing(_taken(element if as_it_is else iter((element,)), thread)) as found:
                async for input_image in found:
                    yield input_image
    elif isinstance(source, np.ndarray | InputImage):  # at once, before another task of the loop can change it
        for input_image in images(source):
            yield input_image
    else:
        following = images(source)
        del source
        try:
            while batch := await thread.run(lambda: list(islice(following, 1))):
                yield batch[0]
        finally:  # closed on the thread where it was advanced, unless that one is held up
            await asyncio.wait({thread.begin(following.close)}, timeout=GRACE)


def _is_pixels(element: Any) -> bool:
    """Return whether `element` is an array, other than one of paths."""
    return isinstance(element, np.ndarray) and element.dtype.kind not in "OU"
