"""A program that forks with a model on OpenVINO in its process: `python -m tests.local.forking FOLDER WHAT ...`.

WHAT the child does: "use" the model, "close" its transport, "exit" as programs do instead of at once. "crowd": the
parent answers many requests side by side before it forks, and the child has to be told so.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openvino
from openvino import opset13 as ops

from maskserve.errors import ToolError
from maskserve.transport.wire import ImageRequest, read_answer
from maskserve_local.sources import Source
from maskserve_local.transport import InProcessTransport
from maskserve_server.engines.openvino import OpenVINOEngine
from maskserve_server.spec import CoreSpec, ModelSpec

_SIDE = 32
_PREPROCESS = (
    {"type": "Resize", "target_size": [_SIDE, _SIDE], "keep_ratio": False, "interp": 1},
    {"type": "NormalizeImage", "norm_type": "none", "is_scale": True, "mean": [0, 0, 0], "std": [1, 1, 1]},
    {"type": "Permute"},
)


def write_core(path: Path) -> None:
    """Write a network that finds one instance wherever there is white."""
    image = ops.parameter([1, 3, _SIDE, _SIDE], np.float32, name="image")
    mean = ops.reduce_mean(image, np.array([1, 2, 3]), keep_dims=False)
    score = ops.reshape(mean, np.array([1, 1, 1]), special_zero=False)
    around = np.array([[[0, 0, _SIDE, _SIDE]]], np.float32)
    detections = ops.concat([ops.constant(np.ones((1, 1, 1), np.float32)), score, ops.constant(around)], axis=2)
    kernel = np.full((1, 3, 3, 3), 1.0, np.float32)
    logits = ops.convolution(image, kernel, [4, 4], [1, 1], [1, 1], [1, 1])
    model = openvino.Model([detections, logits], [image])
    for output, name in zip(model.outputs, ("detections", "mask_logits"), strict=True):
        output.get_tensor().set_names({name})
    openvino.save_model(model, path, compress_to_fp16=False)


def crowd(transport: InProcessTransport, found: Callable[[], int]) -> None:
    """Answer requests side by side until the network is loaded for several at once, and some after that."""
    cores = transport._cores
    assert cores is not None
    end = time.monotonic() + 60
    with ThreadPoolExecutor(4) as pool:
        while cores._several is None:
            assert time.monotonic() < end
            list(pool.map(lambda _: found(), range(16)))
        list(pool.map(lambda _: found(), range(16)))


def is_refused(found: Callable[[], int]) -> bool:
    """Return whether the model says in words that it does not work here."""
    try:
        found()
    except ToolError as error:
        return "spawn" in error.message
    return False


def main() -> None:
    """Fork, and say how the child ended."""
    folder, what = Path(sys.argv[1]), sys.argv[2:]
    core = CoreSpec("openvino", "core.xml", ("image",), ("detections", "mask_logits"), (3, _SIDE, _SIDE))
    spec = ModelSpec("white", "mask_rt_detr", {}, _PREPROCESS, ("person", "car"), 0.5, core, classes=2)
    write_core(folder / core.file)

    def load(threads: int, streams: int = 1) -> OpenVINOEngine:
        return OpenVINOEngine(folder / core.file, core, threads=threads, streams=streams)

    transport = InProcessTransport(Source(spec, load))
    encoded = cv2.imencode(".png", np.full((_SIDE, _SIDE, 3), 255, np.uint8))[1].tobytes()

    def found() -> int:
        return len(read_answer(transport.infer("white", ImageRequest(encoded)), ()))

    assert found() == 1
    if "crowd" in what:
        crowd(transport, found)
    child = os.fork()
    if child == 0:
        signal.alarm(100)  # ends a child that hangs
        right = is_refused(found) if "crowd" in what else "use" not in what or found() == 1
        if "close" in what:
            transport.close()
        del transport
        if "exit" in what:
            sys.exit(0 if right else 1)
        os._exit(0 if right else 1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(ended, found())


if __name__ == "__main__":
    main()
