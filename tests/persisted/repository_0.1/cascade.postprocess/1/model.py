"""Triton entry: threshold, paint and encode. Written by `maskserve convert`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from maskserve_server.metrics import Metrics
from maskserve_server.stages import Postprocess
from maskserve_server.triton import read_spec, respond


class TritonPythonModel:
    """See https://github.com/triton-inference-server/python_backend for the interface."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what to do from `model.json`."""
        spec = read_spec(args)
        self._stage = Postprocess(spec)
        self._metrics = Metrics(pb_utils, spec.name)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request on its own."""
        return respond(pb_utils, requests, self._stage, self._stage.inputs, self._metrics)
