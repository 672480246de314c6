"""The engines that can run a core inside Triton's Python backend, behind one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from maskserve_server.spec import CoreSpec

Tensors = Mapping[str, npt.NDArray[Any]]

NAMES = ("openvino", "onnxruntime", "paddle")


class Engine(Protocol):
    """Runs a core."""

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """The core's outputs by name for one batch. They may be overwritten by the next call."""
        ...


def load_engine(core: CoreSpec, directory: Path, *, threads: int) -> Engine:
    """Load the core of a version directory.

    Args:
        core: which file, and what runs it.
        directory: where the file is.
        threads: how many CPU threads one call may use.
    """
    path = directory / core.file
    if core.engine == "openvino":
        from maskserve_server.engines.openvino import OpenVINOEngine

        return OpenVINOEngine(path, core, threads=threads)
    if core.engine == "onnxruntime":
        from maskserve_server.engines.onnxruntime import ONNXRuntimeEngine

        return ONNXRuntimeEngine(path, core, threads=threads)
    from maskserve_server.engines.paddle import PaddleEngine

    return PaddleEngine(path, core, threads=threads)
