"""A core on OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import openvino

from maskserve_server.engines import Tensors
from maskserve_server.spec import CoreSpec

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def precisions() -> frozenset[str]:
    """What this CPU computes in natively, of "fp32", "bf16" and "fp16"."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return frozenset(name for name in _PRECISIONS if name.upper() in capabilities)


class OpenVINOEngine:
    """Compiled for one image at a time where the input's size is fixed: a static shape runs faster than a dynamic one.

    Args:
        path: the ONNX file.
        core: the names of its inputs and outputs.
        threads: how many CPU threads one call may use.
    """

    def __init__(self, path: Path, core: CoreSpec, *, threads: int) -> None:
        runtime = openvino.Core()
        model = runtime.read_model(path)
        model.reshape({name: shape for name, shape in _static_shapes(core).items()})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Every instance is a process, and each would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
            # Left to itself OpenVINO computes in bfloat16 on CPUs that have it, which moves scores and boxes.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[core.precision],
        }
        self._inputs, self._outputs = core.inputs, core.outputs
        self._request = runtime.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """See `Engine`; the arrays returned are the request's own memory."""
        self._request.infer({name: feeds[name] for name in self._inputs}, share_inputs=True, share_outputs=True)
        return {name: self._request.get_tensor(name).data for name in self._outputs}


def _static_shapes(core: CoreSpec) -> dict[str, list[int]]:
    shapes = {"image": [1, *core.image_shape], "im_shape": [1, 2], "scale_factor": [1, 2], "threshold": [1, 1]}
    return {name: shapes[name] for name in core.inputs}
