"""Triton entry: an encoded image in, instances out, all in one process. Written by `maskserve convert`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from maskserve_server.admission.front import Front
from maskserve_server.metrics import Metrics
from maskserve_server.stages import Single
from maskserve_server.triton import (
    instance_count,
    reading_spec,
    respond,
    runs_at_once,
    thread_count,
    version_directory,
)


class TritonPythonModel:
    """See https://github.com/triton-inference-server/python_backend for the interface."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load all three stages."""
        directory, threads, runs = version_directory(args), thread_count(args), runs_at_once(args)
        with reading_spec(args) as spec:
            self._metrics = Metrics(pb_utils, spec.name)
            self._stage = Single(spec, directory, threads=threads, streams=runs, on_run=self._metrics.ran)
        # Of several processes each would have a queue, and Triton cannot see how long these are.
        alone, twins = instance_count(args) == 1, [self._stage.twin() for _ in range(runs - 1)]
        self._front = Front(pb_utils, self._stage, spec.queue, self._metrics, twins=twins) if alone else None

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Take requests in, or refuse them; they are answered when it is their turn."""
        if self._front is None:
            return respond(pb_utils, requests, self._stage, self._stage.inputs, self._metrics)
        self._front.take_in(requests)
        return None

    def finalize(self) -> None:
        """End the threads that answer."""
        if self._front is not None:
            self._front.close()
