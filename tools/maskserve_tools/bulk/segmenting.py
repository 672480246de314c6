"""What a Ray worker does: a shard in, a file of the output out."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.errors import MaskserveError, to_wire
from maskserve_tools.bulk.loading import load
from maskserve_tools.bulk.shards import Shard
from maskserve_tools.bulk.writing import FORMATS, Row, row_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from maskserve.pipeline import Pipeline
    from maskserve_tools.bulk.reading import Columns

_RETRIES = 5  # with pauses of 0.1 to 25 seconds: a server may be restarted meanwhile


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker has to know.

    Attributes:
        folder: of the output; the same on all machines.
        format: of `FORMATS`.
        columns: of Parquet files with photos.
        pipeline: what clients call the model, where there are servers.
        urls: the servers; each shard goes to one of them.
        embedded: the model of the servers that the workers start, each its own; None where there are `urls`.
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
    embedded: str | None
    threshold: float | None
    labels: tuple[str, ...] | None
    concurrency: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a shard.

    Attributes:
        photos: the number of photos that were segmented.
        failed: the number of those that have an error.
        refusal: why nothing came of it, as `to_wire` writes errors; empty when all is well.
    """

    photos: int
    failed: int
    refusal: str = ""


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
        """What Ray Data calls: columns `number` and `shard` in, the columns of `Report` out."""
        reports = [
            self.report(int(number), Shard.from_json(str(text)))
            for number, text in zip(batch["number"], batch["shard"], strict=True)
        ]
        return {
            "photos": [report.photos for report in reports],
            "failed": [report.failed for report in reports],
            "refusal": [report.refusal for report in reports],
        }

    def report(self, number: int, shard: Shard) -> Report:
        """Do a shard. What is wrong with a photo is in its row; what is wrong with the run ends this worker's work.

        Args:
            number: of the shard among all.
            shard: the photos. Rows of others that its file has already are kept.
        """
        if not self._refusal:
            try:
                rows = self.segment(number, shard)
                self.write(shard, rows)
                return Report(len(rows), sum(row["error"] is not None for row in rows))
            except MaskserveError as error:
                self._refusal = to_wire(error)
        return Report(0, 0, self._refusal)

    def segment(self, number: int, shard: Shard) -> list[Row]:
        """A row for each photo of `shard`, in its order.

        Raises:
            MaskserveError: no server can be used, or the shard cannot be read.
        """
        pipelines = self._opened()
        pipeline = pipelines[number % len(pipelines)]
        photos, sent = tee(load(shard, self._job.columns))
        outcomes = pipeline.predict(
            (photo.picture for photo in sent),
            threshold=self._job.threshold,
            labels=self._job.labels,
            on_error="return",
        )
        return [row_for(photo, outcome) for photo, outcome in zip(photos, outcomes, strict=True)]

    def write(self, shard: Shard, rows: list[Row]) -> None:
        """Write the file of `shard`, in one step.

        Raises:
            InputError: it cannot be read or written.
        """
        kind = FORMATS[self._job.format]
        path = Path(self._job.folder, f"{shard.name}{kind.suffix}")
        fresh = {row["id"] for row in rows}
        kept = [row for row in kind.read(path) if row["id"] not in fresh] if path.exists() else []
        kind.save(path, [*kept, *rows])

    def close(self) -> None:
        """Close the connections, and have the server stopped if it is this worker's own."""
        self._pipelines.clear()
        self._open.close()

    __del__ = close  # what Ray calls when a worker ends in order

    def _opened(self) -> list[Pipeline]:
        if not self._pipelines:
            self._pipelines.extend(self._connected())
        return self._pipelines

    def _connected(self) -> Iterator[Pipeline]:
        from maskserve import create_pipeline
        from maskserve_tools.bulk.keeper import keep_server

        job, name, urls = self._job, self._job.pipeline, self._job.urls
        if job.embedded is not None:
            server = self._open.enter_context(closing(keep_server(job.embedded)))
            name, urls = server.model, (server.url,)
        for url in urls:
            pipeline = create_pipeline(
                name, url=url, concurrency=job.concurrency, timeout=job.timeout, retries=_RETRIES
            )
            yield self._open.enter_context(pipeline)
