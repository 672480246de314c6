"""Triton entry: run the network. Written by `maskserve convert`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from maskserve_server.admission.follower import Follower
from maskserve_server.metrics import Metrics
from maskserve_server.stages import Core
from maskserve_server.triton import reading_spec, thread_count, version_directory


class TritonPythonModel:
    """See https://github.com/triton-inference-server/python_backend for the interface."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the core with the engine that `model.json` names."""
        with reading_spec(args) as spec:
            stage = Core(spec, version_directory(args), threads=thread_count(args))
        metrics = Metrics(pb_utils, spec.name)
        self._follower = Follower(pb_utils, stage, spec.name, metrics, on_run=metrics.ran)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request on its own."""
        return self._follower.respond(requests)
