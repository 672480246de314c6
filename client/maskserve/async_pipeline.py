"""The pipeline for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, overload

from maskserve._cancellation import Cancellation
from maskserve._inflight import in_order_async
from maskserve._inputs import pictures
from maskserve._segmenter import OnError, wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from maskserve._pictures import Picture
    from maskserve.pipeline import Pipeline
    from maskserve.results import Failure, InstanceSegResult


class AsyncPipeline:
    """A pipeline whose `predict` is iterated with ``async for``, and leaves the event loop free meanwhile.

    Args:
        pipeline: the pipeline that does the work, as `create_pipeline` makes it; it is closed with this one.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

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
    ) -> AsyncIterator[InstanceSegResult]: ...
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
    ) -> AsyncIterator[InstanceSegResult | Failure]: ...
    async def predict(
        self,
        input: Any,
        batch_size: int | None = None,
        *,
        threshold: float | None = None,
        class_ids: Iterable[int] | None = None,
        labels: Iterable[str] | None = None,
        on_error: OnError = "raise",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[InstanceSegResult | Failure]:
        """Segment pictures, one result for each, in the order of the input. Nothing happens before the iteration.

        Args:
            input: whatever `Pipeline.predict` takes, or an asynchronous iterable of it.
            batch_size: as there, and so are the others.
            threshold: instances must score higher.
            class_ids: keep only these classes.
            labels: keep only the classes of these names.
            on_error: "raise", "skip" or "return".
            headers: sent with these requests.

        Yields:
            results.

        Raises:
            InputError: a picture cannot be read, or an argument makes no sense.
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
        cancellation = Cancellation()
        attempt = partial(segmenter.attempt, replace(query, cancellation=cancellation))
        outcomes = in_order_async(attempt, _pictures(input), query.width)
        try:
            async with aclosing(outcomes):
                async for outcome in outcomes:
                    if wanted(outcome, on_error):
                        yield outcome
        finally:  # whoever stops iterating wants no more of the server's time
            cancellation.call_off()

    __call__ = predict

    async def close(self) -> None:
        """Close the connections, as `Pipeline.close` does; requests under way end."""
        await asyncio.to_thread(self._pipeline.close)

    async def __aenter__(self) -> AsyncPipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _pictures(source: Any) -> AsyncIterator[Picture]:
    """`pictures` in threads, since walking through directories and asking iterators takes time."""
    if isinstance(source, AsyncIterable):
        async for element in source:
            async for picture in _pictures(element):
                yield picture
        return
    found = pictures(source)
    while batch := await asyncio.to_thread(lambda: list(islice(found, 1))):
        yield batch[0]
