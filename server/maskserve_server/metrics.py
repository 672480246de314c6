"""What Prometheus sees of a model besides Triton's own figures: images, instances, masks, and errors by their code.

Triton keeps the values, at its `/metrics`: all instances and all stages of a model add to the same ones. An image is
counted where it is answered and an error where it happens, so the two add up to the requests. A health check's image
is an image like any other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from maskserve import contract
from maskserve.errors import InferenceFailed, InputError, RequestTimeout, ServerOverloaded

IMAGES = "maskserve_images_total"
INSTANCES = "maskserve_instances_total"
INSTANCES_PER_IMAGE = "maskserve_instances_per_image"
MASK_BYTES = "maskserve_mask_bytes_total"
ERRORS = "maskserve_errors_total"
RUNS = "maskserve_core_runs_total"
QUEUED_SECONDS = "maskserve_queue_seconds_total"
QUEUED = "maskserve_queue_requests"

_DESCRIPTIONS = {
    IMAGES: "Images answered.",
    INSTANCES: "Instances found.",
    INSTANCES_PER_IMAGE: "Instances found in an image.",
    MASK_BYTES: "Bytes of encoded masks in answers.",
    QUEUED_SECONDS: "Seconds that requests have waited for their turn.",
    QUEUED: "Requests that wait for their turn.",
    RUNS: "Runs of the network; more than there are images answered: some were computed for nobody.",
    ERRORS: "Requests that failed, by error code; invalid_image, unsupported_format and image_too_large are decoding.",
}
_BUCKETS = [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0]  # a family finds 100 to 300 at the most
# There from the start, at 0: a series that begins with its first error shows no increase.
_CODES = [
    *(kind.code for kind in InputError.__subclasses__()),
    InferenceFailed.code,
    ServerOverloaded.code,
    RequestTimeout.code,
]


class Metrics:
    """The figures of one model; where they cannot be kept, a line in the log says so and serving goes on.

    Several threads may use it. One at a time talks to Triton: a `Metric` of Triton's Python backend gives Python's lock
    away while it holds memory that the server shares, and two threads in one `Metric` free that memory twice, of which
    the server dies (Triton 24.10 and later, `src/metric.cc`).

    Args:
        backend: the `triton_python_backend_utils` module.
        model: the name that clients use, the label of all figures.
    """

    def __init__(self, backend: Any, model: str) -> None:
        self._backend = backend
        self._model = model
        self._kept: dict[tuple[str, str], Any] = {}
        self._families: dict[str, Any] = {}  # a figure does not keep its family alive
        self._broken = False
        self._turn = threading.Lock()
        self._safely(self._create)

    def answered(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Count an answer of a stage with `columns`; only a whole answer (see `maskserve.contract`) counts."""
        if contract.MASKS in columns:
            self._safely(self._count, columns[contract.MASKS])

    def ran(self) -> None:
        """Count a run of the network on one image."""
        self._safely(self._count_run)

    def queued(self, requests: int) -> None:
        """Show how many requests wait for their turn."""
        self._safely(lambda: self._figure(QUEUED).set(requests))

    def waited(self, seconds: float) -> None:
        """Count the seconds that a request waited for its turn."""
        self._safely(lambda: self._figure(QUEUED_SECONDS).increment(seconds))

    def failed(self, code: str) -> None:
        """Count a request that failed with the error of this code."""
        self._safely(self._count_error, code)

    def _create(self) -> None:
        for name in _DESCRIPTIONS:
            for code in _CODES if name == ERRORS else [""]:
                self._figure(name, code)

    def _count(self, masks: npt.NDArray[Any]) -> None:
        self._figure(IMAGES).increment(1)
        self._figure(INSTANCES_PER_IMAGE).observe(len(masks))
        if len(masks):
            self._figure(INSTANCES).increment(len(masks))
            self._figure(MASK_BYTES).increment(sum(map(len, masks)))

    def _count_run(self) -> None:
        self._figure(RUNS).increment(1)

    def _count_error(self, code: str) -> None:
        self._figure(ERRORS, code).increment(1)

    def _figure(self, name: str, code: str = "") -> Any:
        if (name, code) not in self._kept:
            self._kept[name, code] = self._new(name, {"model": self._model} | ({"code": code} if code else {}))
        return self._kept[name, code]

    def _new(self, name: str, labels: dict[str, str]) -> Any:
        kinds, histogram = self._backend.MetricFamily, name == INSTANCES_PER_IMAGE
        if name not in self._families:
            kind = kinds.HISTOGRAM if histogram else kinds.GAUGE if name == QUEUED else kinds.COUNTER
            self._families[name] = kinds(name=name, description=_DESCRIPTIONS[name], kind=kind)
        return self._families[name].Metric(labels=labels, **({"buckets": _BUCKETS} if histogram else {}))

    def _safely(self, action: Callable[..., None], *args: Any) -> None:
        if self._broken:
            return
        try:
            with self._turn:
                action(*args)
        except Exception as error:  # nobody's image is worth less than a figure about it
            self._broken = True
            self._backend.Logger.log_warn(f"{self._model} is served without figures of its own: {error}")
