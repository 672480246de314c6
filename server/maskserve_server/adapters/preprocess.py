"""Triton entry: decode, resize and normalise one image. Written by `maskserve convert`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from maskserve_server.admission.front import Front, ahead_of_core
from maskserve_server.metrics import Metrics
from maskserve_server.stages import Preprocess
from maskserve_server.triton import read_spec, repository_of, runs_at_once


class TritonPythonModel:
    """See https://github.com/triton-inference-server/python_backend for the interface."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what to do from `model.json`."""
        spec, more = read_spec(args), runs_at_once(args) - 1
        ahead, stage = ahead_of_core(repository_of(args), spec.name) + 2 * more, Preprocess(spec)
        metrics = Metrics(pb_utils, spec.name)
        self._front = Front(pb_utils, stage, spec.queue, metrics, ahead=ahead, twins=[stage] * more)

    def execute(self, requests: list[Any]) -> None:
        """Take requests in, or refuse them; they are answered when it is their turn."""
        self._front.take_in(requests)

    def finalize(self) -> None:
        """End the threads that answer."""
        self._front.close()
