"""A core on Paddle Inference: for whatever does not convert to ONNX, and as the reference for what does."""

from __future__ import annotations

import warnings
from copy import copy
from pathlib import Path
from typing import Any

import numpy.typing as npt

from maskserve_server.engines import Tensors
from maskserve_server.spec import CoreSpec

_GPU_MEMORY = 1000  # MiB that Paddle takes at first; it takes more where that is needed


class PaddleEngine:
    """A predictor, on the CPU without oneDNN: Paddle 3.0's passes fail on most of these programs.

    Args:
        path: the program; its parameters lie beside it with the suffix `.pdiparams`.
        core: the names of its inputs, and of its outputs in the program's order.
        threads: how many CPU threads one call may use.
        device: "cpu", or what Paddle calls another device, such as "gpu:0" or "npu:0".
        streams: how many of its twins run at the same time; each has threads of its own, so that this changes nothing.
    """

    def __init__(self, path: Path, core: CoreSpec, *, threads: int, device: str = "cpu", streams: int = 1) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no ccache
            from paddle import inference

        config = inference.Config(str(path), str(path.with_suffix(".pdiparams")))
        _choose(config, device)
        config.disable_glog_info()
        config.disable_mkldnn()
        config.enable_memory_optim()
        config.enable_new_executor()
        config.set_cpu_math_library_num_threads(threads)
        self._inputs, self._outputs = core.inputs, core.outputs
        self._predictor = inference.create_predictor(config)

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """See `Engine`."""
        for name in self._inputs:
            self._predictor.get_input_handle(name).copy_from_cpu(feeds[name])
        self._predictor.run()
        handles = (self._predictor.get_output_handle(name) for name in self._predictor.get_output_names())
        return {name: handle.copy_to_cpu() for name, handle in zip(self._outputs, handles, strict=True)}

    def twin(self) -> PaddleEngine:
        """See `Engine`."""
        other = copy(self)
        other._predictor = self._predictor.clone()
        return other


def _choose(config: Any, device: str) -> None:
    kind, _, number = device.partition(":")
    if kind == "cpu":
        config.disable_gpu()
    elif kind == "gpu":
        config.enable_use_gpu(_GPU_MEMORY, int(number))
    elif kind == "xpu":
        config.enable_xpu()
        config.set_xpu_device_id(int(number))
    else:
        config.enable_custom_device(kind, int(number))
