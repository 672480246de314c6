"""What a Ray worker does: a shard in, a file of the output out."""

from __future__ import annotations

import os
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError, InvalidParameter, MaskserveError, to_wire
from maskserve.pipeline import Pipeline
from maskserve.text import printable
from maskserve_local.cpus import THREADS
from maskserve_tools.batch.loading import load
from maskserve_tools.batch.shards import Shard
from maskserve_tools.batch.writing import FORMATS, Row, row_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from maskserve.inputs.image import InputImage
    from maskserve_tools.batch.loading import ListedImage
    from maskserve_tools.batch.reading import Columns

_RETRIES = 5  # with pauses of 0.1 to 25 seconds: a server may be restarted meanwhile


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker has to know.

    Attributes:
        folder: of the output; the same on all machines.
        format: of `FORMATS`.
        columns: of Parquet files with images.
        pipeline: what clients call the model, where there are servers.
        urls: the servers; each shard goes to one of them.
        model: what each worker loads into its own process; None where there are `urls`.
        threads: how many CPU threads a worker's model may use.
        threshold: instances must score higher; None for the model's own.
        labels: keep only these classes; None for all.
        concurrency: requests that a worker keeps under way.
        timeout: seconds for one request.
    """

    folder: str
    format: str
    columns: Columns
    pipeline: str
    urls: tuple[str, ...]
    model: str | None
    threads: int
    threshold: float | None
    labels: tuple[str, ...] | None
    concurrency: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a shard.

    Attributes:
        images: the number of images that were segmented.
        failed: the number of those that have an error.
        refusal: why the run cannot go on, as `to_wire` writes errors; empty when it can.
        problem: why nothing came of this shard, though the run goes on; empty when all is well.
        undone: the number of images of a shard with a problem.
    """

    images: int
    failed: int
    refusal: str = ""
    problem: str = ""
    undone: int = 0


class Worker:
    """Does shards, one after the other. Made by Ray in a process of its own; its connections are opened by the first.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._open = ExitStack()
        self._pipelines: list[Pipeline] = []
        self._refusal = ""

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
        """Return what Ray Data calls: columns `number` and `shard` in, the columns of `Report` out."""
        reports = [
            self.report(int(number), Shard.from_json(str(text)))
            for number, text in zip(batch["number"], batch["shard"], strict=True)
        ]
        return {field.name: [getattr(report, field.name) for report in reports] for field in fields(Report)}

    def report(self, number: int, shard: Shard) -> Report:
        """Do a shard.

        What is wrong with an image is in its row. A shard whose images cannot be read or whose rows cannot be written
        is left undone. What is wrong with the run ends this worker's work.

        Args:
            number: of the shard among all.
            shard: the images. Rows of others that its file has already are kept.
        """
        if self._refusal:
            return Report(0, 0, self._refusal)
        try:
            rows = self.segment(number, shard)
            self.write(shard, rows)
        except MaskserveError as error:
            if isinstance(error, InputError) and not isinstance(error, InvalidParameter):
                return Report(0, 0, problem=printable(error.message), undone=len(shard))
            self._refusal = to_wire(error)
            return Report(0, 0, self._refusal)
        return Report(len(rows), sum(row["error"] is not None for row in rows))

    def segment(self, number: int, shard: Shard) -> list[Row]:
        """Return a row for each image of `shard`, in its order.

        Raises:
            MaskserveError: no server can be used, or the shard cannot be read.
        """
        pipelines = self._opened()
        pipeline = pipelines[number % len(pipelines)]
        under_way: deque[ListedImage] = deque()

        def sent() -> Iterator[InputImage]:  # on the thread that `predict` has for it
            for input_image in load(shard, self._job.columns):
                under_way.append(input_image)
                yield input_image.image

        outcomes = pipeline.predict(
            sent(),
            threshold=self._job.threshold,
            labels=self._job.labels,
            on_error="return",
        )
        return [row_for(under_way.popleft(), outcome) for outcome in outcomes]

    def write(self, shard: Shard, rows: list[Row]) -> None:
        """Write the file of `shard`, in one step.

        Raises:
            InputError: it cannot be read or written.
        """
        kind = FORMATS[self._job.format]
        path = Path(self._job.folder, f"{shard.name}{kind.suffix}")
        fresh = {row["id"] for row in rows}
        kept = [row for row in kind.read(path) if row["id"] not in fresh] if path.is_file() else []
        kind.save(path, [*kept, *rows])

    def close(self) -> None:
        """Close the connections, and drop the model if it is this worker's own."""
        self._pipelines.clear()
        self._open.close()

    __del__ = close  # what Ray calls when a worker ends in order

    def _opened(self) -> list[Pipeline]:
        if not self._pipelines:
            self._pipelines.extend(self._connected())
        return self._pipelines

    def _connected(self) -> Iterator[Pipeline]:
        job = self._job
        for url in job.urls if job.model is None else (None,):
            yield self._open.enter_context(self._pipeline(url))

    def _pipeline(self, url: str | None) -> Pipeline:
        from maskserve import create_pipeline
        from maskserve_tools.local import open_here

        job = self._job
        if job.model is None:
            return create_pipeline(
                job.pipeline, url=url, concurrency=job.concurrency, timeout=job.timeout, retries=_RETRIES
            )
        os.environ.setdefault(THREADS, str(job.threads))
        name, transport = open_here(job.model, timeout=job.timeout)
        return Pipeline(name, transport, concurrency=job.concurrency, retries=0)
