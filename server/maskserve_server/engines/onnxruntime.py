"""A core on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from maskserve_server.engines import Tensors
from maskserve_server.spec import CoreSpec


class ONNXRuntimeEngine:
    """A session on the CPU.

    Args:
        path: the ONNX file.
        core: the names of its inputs and outputs.
        threads: how many CPU threads one call may use.
    """

    def __init__(self, path: Path, core: CoreSpec, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from the other stages.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # An arena keeps what the largest image took, and more; where every image is of one size, it saves time.
        options.enable_cpu_mem_arena = min(core.image_shape) > 0
        options.log_severity_level = 3
        self._inputs, self._outputs = core.inputs, core.outputs
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """See `Engine`."""
        results = self._session.run(list(self._outputs), {name: feeds[name] for name in self._inputs})
        return dict(zip(self._outputs, results, strict=True))
