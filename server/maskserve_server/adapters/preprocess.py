"""Triton entry: decode, resize and normalise one image. Written by `maskserve convert`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from maskserve_server.stages import Preprocess
from maskserve_server.triton import read_spec, respond


class TritonPythonModel:
    """See https://github.com/triton-inference-server/python_backend for the interface."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what to do from `model.json`."""
        self._stage = Preprocess(read_spec(args))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request on its own."""
        return respond(pb_utils, requests, self._stage, self._stage.inputs)
