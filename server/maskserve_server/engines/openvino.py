"""A core on OpenVINO."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from maskserve_server.engine_table import BF16, FP16, FP32, INT8
from maskserve_server.engines import Tensors
from maskserve_server.engines.compiled_cache import CompiledCache
from maskserve_server.one_conversion import Stamp, stamp
from maskserve_server.spec import CoreSpec

# What a compiled core depends on.
_PROCESSOR = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
_PRECISIONS = {FP32: "f32", BF16: "bf16", FP16: "f16", INT8: "f32"}


def _fill_tables() -> None:
    """Let OpenVINO's bindings fill their tables of types, by a tensor of each kind of call that `infer` makes.

    Two threads that fill them at the same time wait for each other for ever: one holds Python's lock, the other the
    table's (2026.2). A module is imported by one thread at a time.
    """
    tensor = openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
    tensor.get_element_type().to_dtype()
    _ = tensor.data


_fill_tables()


def precisions() -> frozenset[str]:
    """Return what this CPU computes in natively, of the precisions that OpenVINO has."""
    capabilities = _capabilities("CPU")
    return frozenset(name for name in _PRECISIONS if name.upper() in capabilities)


def _capabilities(device: str) -> Sequence[str]:
    found: Sequence[str] = openvino.Core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    return found


def _hint(precision: str, device: str) -> str:
    """Return what OpenVINO is to compute in.

    The integer operations of int8 are in the core's file. What is left is computed in bfloat16 where the device has it,
    which rounds less than 8 bits do, and in float32 elsewhere.
    """
    if precision == INT8 and "BF16" in _capabilities(device):
        return _PRECISIONS[BF16]
    return _PRECISIONS[precision]


class OpenVINOEngine:
    """Compiled for one image at a time where the input's size is fixed: a static shape runs faster than a dynamic one.

    Args:
        source: the ONNX file, or its content.
        core: the names of its inputs and outputs.
        threads: how many CPU threads one call may use.
        device: "cpu", or what OpenVINO calls another device, such as "GPU.0".
        streams: how many requests run at the same time on a CPU.
        cache: where compiled cores are kept; None for the user's.
    """

    def __init__(
        self,
        source: Path | bytes,
        core: CoreSpec,
        *,
        threads: int,
        device: str = "cpu",
        streams: int = 1,
        cache: CompiledCache | None = None,
    ) -> None:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads * streams,
            # Every instance is a process, and each would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
            # Left to itself OpenVINO computes in bfloat16 on CPUs that have it, which moves scores and boxes.
            "INFERENCE_PRECISION_HINT": _hint(core.precision, device.upper()),
        }
        if streams > 1:
            settings["NUM_STREAMS"] = streams
        self._inputs, self._outputs = core.inputs, core.outputs
        if device == "cpu":
            self._compiled = _compiled(source, core, settings, cache or CompiledCache.usual())
        else:  # threads are the CPU's
            settings = {key: settings[key] for key in ("PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT")}
            runtime = openvino.Core()
            self._compiled = runtime.compile_model(_model(runtime, source, core), device.upper(), settings)
        self._request = self._compiled.create_infer_request()

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """See `Engine`; the arrays returned are the request's own memory."""
        self._request.infer({name: feeds[name] for name in self._inputs}, share_inputs=True, share_outputs=True)
        return {name: self._request.get_tensor(name).data for name in self._outputs}

    def twin(self) -> OpenVINOEngine:
        """See `Engine`."""
        other = copy(self)
        other._request = self._compiled.create_infer_request()
        return other


def _compiled(source: Path | bytes, core: CoreSpec, settings: Mapping[str, Any], cache: CompiledCache) -> Any:
    """Return the compiled core, from the cache if it has it: that is the same one, as OpenVINO wrote it down."""
    runtime = openvino.Core()
    if cache.off:
        return runtime.compile_model(_model(runtime, source, core), "CPU", settings)
    what = {
        "version": openvino.get_version(),
        "processor": [str(runtime.get_property("CPU", name)) for name in _PROCESSOR],
        "settings": settings,
        "shapes": _static_shapes(core),
    }
    before = _stamp(source)
    key = cache.key(source, **what)
    kept = cache.load(key)
    if kept is not None:
        try:
            return runtime.import_model(kept, "CPU", settings)
        except RuntimeError:
            cache.remove(key)
    model = _model(runtime, source, core)
    same = _stamp(source) == before  # else the key is of the file that had its place before
    compiled = runtime.compile_model(model, "CPU", settings)
    with contextlib.suppress(RuntimeError):  # one that cannot be written down
        if same:
            cache.keep(key, compiled.export_model().getvalue())
    return compiled


def _stamp(source: Path | bytes) -> Stamp | None:
    return None if isinstance(source, bytes) else stamp(source)


def _model(runtime: openvino.Core, source: Path | bytes, core: CoreSpec) -> openvino.Model:
    model = runtime.read_model(source)
    model.reshape(_static_shapes(core))
    return model


def _static_shapes(core: CoreSpec) -> dict[str, list[int]]:
    shapes = {"image": [1, *core.image_shape], "im_shape": [1, 2], "scale_factor": [1, 2], "threshold": [1, 1]}
    return {name: shapes[name] for name in core.inputs}
