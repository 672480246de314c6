"""The run: shards through Ray Data's workers, and what is said about it."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING

from maskserve.errors import InferenceFailed, InvalidParameter, ToolError, from_wire
from maskserve_tools.batch.segmenting import Report, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from maskserve_tools.batch.segmenting import Job
    from maskserve_tools.batch.shards import Shard

_OBJECT_STORE = 200 * 2**20  # bytes; what goes through Ray are lists of paths, not images


def check_installed() -> None:
    """Make sure that the extra is there, before anything is done.

    Raises:
        ToolError: it is not.
    """
    try:
        for module in ("pyarrow.parquet", "ray.data"):
            import_module(module)
    except ImportError as error:
        raise ToolError(
            f'`maskserve batch` needs more of maskserve ({error}): pip install "maskserve[batch]"'
        ) from error


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine that ends with the body.

    Args:
        address: of the cluster; None for one of our own.
        workers: how many it must have room for.

    Raises:
        ToolError: it cannot be reached or started.
        InvalidParameter: it has fewer CPUs than there are to be workers, which would be waited for in vain.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised; the rest is in Ray's log folder
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns that this will be so
    import ray

    own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else own),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ToolError(f"Ray cannot be used at {address or 'this machine'}: {error}") from error
    try:
        room = int(ray.cluster_resources().get("CPU", 0))
        if room < workers:
            raise InvalidParameter(f"--workers {workers}: the cluster at {address} has {room} CPUs, one for each")
        yield
    finally:
        ray.shutdown()


def reports(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Report]:
    """Do the shards, and give what came of each as soon as it is written, in any order.

    Args:
        job: what to do with them.
        shards: at least one.
        workers: how many processes, each of which is one of Ray's actors.

    Raises:
        MaskserveError: the run cannot go on; what was reported is written.
    """
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = [{"number": number, "shard": shard.to_json()} for number, shard in enumerate(shards)]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Worker, fn_constructor_args=(job,), batch_size=1, concurrency=min(workers, len(items)), num_cpus=1
    )
    try:
        for row in dataset.iter_rows():
            report = Report(**{field.name: row[field.name] for field in fields(Report)})
            if report.refusal:
                raise from_wire(report.refusal) or InferenceFailed(report.refusal)
            yield report
    except ray.exceptions.RayError as error:
        raise ToolError(f"Ray gave up: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


class Progress:
    """What has been done, how fast, and a line about it now and then.

    Args:
        todo: images of this run.
        done: images that were done before.
        failed: images with an error from before.
        write: prints a line; called at most once in `every` seconds.
        every: seconds.
    """

    def __init__(self, todo: int, done: int, failed: int, write: Callable[[str], None], every: float) -> None:
        self.todo, self.before, self.failed = todo, done, failed
        self.done = self.undone = 0
        self._write, self._every = write, every
        self._began = self._said = time.monotonic()

    def add(self, report: Report) -> None:
        """Count a shard."""
        self.done += report.images
        self.failed += report.failed
        self.undone += report.undone
        if time.monotonic() - self._said >= self._every:
            self._said = time.monotonic()
            self._write(str(self))

    def __str__(self) -> str:
        rate = self.done / max(time.monotonic() - self._began, 1e-6)
        undone = f", {self.undone} not saved" if self.undone else ""
        return f"{self.done} of {self.todo} images, {rate:.1f} images/s, {self.failed} with an error{undone}"
