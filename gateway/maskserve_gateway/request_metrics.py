"""What Prometheus sees, of one process or of several that write into a common folder."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from collections.abc import Iterator

# prometheus_client writes its values into files there, where it is set before that library is imported.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 15.0, 30.0, 60.0)


class Metrics:
    """The gateway's counters."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "maskserve_gateway_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "maskserve_gateway_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._instances = Counter("maskserve_gateway_instances", "Instances found.", registry=registry)
        self._refused = Counter(
            "maskserve_gateway_refused_connections",
            "Connections that were refused or replaced before there was a request.",
            ["reason"],
            registry=registry,
        )
        self._in_flight = Gauge(
            "maskserve_gateway_in_flight",
            "Segmentations under way, waiting ones among them.",
            multiprocess_mode="livesum",
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is a path of the service, not whatever a client asked for."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def found(self, instances: int) -> None:
        """Count the instances of an image."""
        self._instances.inc(instances)

    def refused(self, reason: str) -> None:
        """Count a refused connection (`reason` is the status), or one that gave way to another ("replaced")."""
        self._refused.labels(reason).inc()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a segmentation as under way while the body runs."""
        with self._in_flight.track_inprogress():
            yield

    def render(self) -> bytes:
        """Return the exposition, of all worker processes."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return generate_latest(self._registry)
        _forget_dead_processes(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _forget_dead_processes(folder: Path) -> None:
    """Remove the gauges of workers that were killed."""
    for file in folder.glob("gauge_live*_*.db"):
        process = file.stem.rpartition("_")[2]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            with suppress(OSError):
                mark_process_dead(int(process), str(folder))  # type: ignore[no-untyped-call]
