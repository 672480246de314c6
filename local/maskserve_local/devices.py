"""From a device in PaddleX's grammar to what runs a core on it here. Nothing runs on another device than asked for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from maskserve.errors import InvalidParameter
from maskserve_server.engine_table import ONNXRUNTIME, OPENVINO, PADDLE

AUTOMATIC = "auto"
_INSTEAD = "Take device='cpu', device='auto' (a GPU if there is one), or name a server that has it with url="
_GPU_PACKAGES = (
    f"pip install {ONNXRUNTIME.package}-gpu in place of {ONNXRUNTIME.package} for an NVIDIA GPU, or install Intel's "
    f"GPU driver for {OPENVINO.title}"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a core runs.

    Attributes:
        engine: what runs it, a name of the table of engines; None for the engine that the model was converted for.
        device: what that engine calls the device: "cpu", "cuda:0", "GPU.0", "npu:0".
    """

    engine: str | None = None
    device: str = "cpu"


CPU = Place()


def find_place(device: str | None) -> Place:
    """Find what runs a core on a device.

    Args:
        device: ``cpu``, ``gpu``, ``gpu:1``, ``npu:0``, ``xpu``, ``mlu`` and so on; ``auto`` is a GPU if there is one,
            else the CPU; None is the CPU.

    Raises:
        InvalidParameter: nothing that is installed does; the message names the package that would.
    """
    kind, _, number = (device or "cpu").lower().partition(":")
    if kind == "cpu":
        return CPU
    if "," in number:
        raise InvalidParameter(f"device={device!r}: a pipeline in this process runs on one device: name one number")
    index = int(number or 0)
    if kind == AUTOMATIC:
        return _gpu(index) or CPU
    if kind == "gpu":
        place = _gpu(index)
        if place is None:
            raise InvalidParameter(f"device={device!r}: nothing here runs on it. {_GPU_PACKAGES}. {_INSTEAD}")
        return place
    if not _paddle_knows(kind):
        raise InvalidParameter(
            f"device={device!r}: nothing here runs on it. Install a paddlepaddle that knows {kind}, with its plug-in. "
            f"{_INSTEAD}"
        )
    return Place(PADDLE.name, f"{kind}:{index}")


def _gpu(index: int) -> Place | None:
    """Return the GPU of that number: by ONNX Runtime with CUDA, else by OpenVINO (Intel), else by Paddle."""
    onnxruntime, openvino = _imported(ONNXRUNTIME.module), _imported(OPENVINO.module)
    if onnxruntime is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return Place(ONNXRUNTIME.name, f"cuda:{index}")
    known = list(openvino.Core().available_devices) if openvino is not None else []
    for name in (f"GPU.{index}", *(["GPU"] if index == 0 else [])):
        if name in known:
            return Place(OPENVINO.name, name)
    paddle = _imported(PADDLE.module)
    if paddle is not None and paddle.is_compiled_with_cuda() and index < paddle.device.cuda.device_count():
        return Place(PADDLE.name, f"gpu:{index}")
    return None


def _paddle_knows(kind: str) -> bool:
    paddle = _imported(PADDLE.module)
    if paddle is None:
        return False
    if kind == "xpu":
        return bool(paddle.is_compiled_with_xpu())
    return kind in paddle.device.get_all_custom_device_type()


def _imported(module: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Paddle's, that there is no ccache
            return import_module(module)
    except ImportError:
        return None
