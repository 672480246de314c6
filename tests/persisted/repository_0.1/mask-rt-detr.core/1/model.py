"""Triton entry: run the network. Written by `maskserve convert`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from maskserve_server.metrics import Metrics
from maskserve_server.stages import Core
from maskserve_server.triton import read_spec, respond, thread_count, version_directory


class TritonPythonModel:
    """See https://github.com/triton-inference-server/python_backend for the interface."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the core with the engine that `model.json` names."""
        spec = read_spec(args)
        self._stage = Core(spec, version_directory(args), threads=thread_count(args))
        self._metrics = Metrics(pb_utils, spec.name)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request on its own."""
        return respond(pb_utils, requests, self._stage, self._stage.inputs, self._metrics)
