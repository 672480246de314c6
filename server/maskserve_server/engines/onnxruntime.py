"""A core on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from maskserve.errors import InvalidParameter
from maskserve_server.engine_table import FP32, INT8
from maskserve_server.engines import Tensors
from maskserve_server.spec import CoreSpec

_CUDA = "CUDAExecutionProvider"


def precisions() -> frozenset[str]:
    """Return what every CPU computes in: int8 is in the core's file, and runs everywhere."""
    return frozenset((FP32, INT8))


class ONNXRuntimeEngine:
    """A session on the CPU, or on an NVIDIA GPU.

    Args:
        source: the ONNX file, or its content.
        core: the names of its inputs and outputs.
        threads: how many CPU threads one call may use.
        device: "cpu", or "cuda:" and a number.
        streams: how many calls may be under way at the same time on a CPU.

    Raises:
        InvalidParameter: ONNX Runtime cannot use that device; it is never replaced by the CPU.
    """

    def __init__(
        self, source: Path | bytes, core: CoreSpec, *, threads: int, device: str = "cpu", streams: int = 1
    ) -> None:
        options = onnxruntime.SessionOptions()
        # One pool for all calls; each call's own thread computes, too.
        options.intra_op_num_threads = streams * (threads - 1) + 1
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from the other stages.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # An arena keeps what the largest image took, and more; where every image is of one size, it saves time.
        options.enable_cpu_mem_arena = min(core.image_shape) > 0
        options.log_severity_level = 3
        self._inputs, self._outputs = core.inputs, core.outputs
        model = source if isinstance(source, bytes) else str(source)
        self._session = onnxruntime.InferenceSession(model, options, providers=_providers(device))
        if device != "cpu" and _CUDA not in self._session.get_providers():
            raise InvalidParameter(
                f"ONNX Runtime cannot use {device}: its CUDA libraries did not load, or the GPU is not there; "
                "take device='cpu'"
            )

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """See `Engine`."""
        results = self._session.run(list(self._outputs), {name: feeds[name] for name in self._inputs})
        return dict(zip(self._outputs, results, strict=True))

    def twin(self) -> ONNXRuntimeEngine:
        """See `Engine`; a session may be shared, and its outputs are new with every call."""
        return self


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    # TensorFloat-32 moves scores and boxes
    return [(_CUDA, {"device_id": device.partition(":")[2], "use_tf32": "0"}), "CPUExecutionProvider"]
