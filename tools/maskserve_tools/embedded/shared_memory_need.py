"""How much of /dev/shm the models will take: too little of it fails at a request, long after the start."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_tools.embedded.served_entries import Entry, python_instances
from maskserve_tools.embedded.shared_memory import DIRECTORY
from maskserve_tools.reporting import say

_MIB = 1 << 20
# What an open dimension counts as: detections; and for the sides of an image [1, 3, H, W] those of 800x1333 padded to
# 32, for the sides of mask grids [1, N, h, w] a quarter of that.
_DETECTIONS = 100
_IMAGE_RANK = 4
_IMAGE_SIDE = 1344
_GRID_SIDE = _IMAGE_SIDE // 4


def free_bytes(directory: Path = DIRECTORY) -> int:
    """Return what is left in `directory`."""
    usage = os.statvfs(directory)
    return usage.f_bavail * usage.f_frsize


def needed_bytes(entries: Sequence[Entry]) -> int:
    """Return an estimate of how far the regions of `entries` will grow.

    Each instance holds the inputs and outputs of one batch, and under load those of the batch before, whose answers
    are still on their way. A dimension that the configuration leaves open counts as what it is on a large image; an
    image file counts as 8 MiB.
    """
    total = 0
    for entry, instances in python_instances(entries):
        tensors = [*entry.config.input, *entry.config.output]
        batch = max(1, entry.config.max_batch_size)
        total += instances * (_MIB + 2 * batch * sum(_tensor_bytes(tensor) for tensor in tensors))
    return total


def check_room(entries: Sequence[Entry], free: int) -> None:
    """Warn where the models may run out of shared memory at their requests: how far they grow is an estimate.

    Raises:
        ToolError: not even what the instances take at the start fits into `free` bytes.
    """
    needed = needed_bytes(entries)
    if needed > free:
        size = 64 * math.ceil(needed / _MIB / 64 + 1)
        fix = (
            f"but {DIRECTORY} has {free // _MIB} MiB free. In a container: docker run --shm-size={size}m ...;"
            f" elsewhere: mount -o remount,size={size}m {DIRECTORY}. Or serve fewer models (--model)."
        )
        certain = sum(instances for _, instances in python_instances(entries))
        if certain * _MIB > free:
            raise ToolError(f"the models need {certain} MiB of shared memory at the start, {fix}")
        say(f"warning: under load the models need about {math.ceil(needed / _MIB)} MiB of shared memory, {fix}")


def _closed(dims: list[int]) -> list[int]:
    """Return the dimensions with those that are open filled in."""
    if len(dims) != _IMAGE_RANK:
        return [_DETECTIONS if dim < 0 else dim for dim in dims]
    side = _IMAGE_SIDE if dims[1] == 3 else _GRID_SIDE
    usual = (1, _DETECTIONS, side, side)
    return [by if dim < 0 else dim for dim, by in zip(dims, usual, strict=True)]


def _tensor_bytes(tensor: Any) -> int:
    from tritonclient.grpc import model_config_pb2

    elements = math.prod(_closed(list(tensor.dims)))
    name = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    if name == "STRING":
        return elements * (8 * _MIB if tensor.name == contract.IMAGE else 1024)
    bits = "".join(filter(str.isdigit, name)) or "8"
    return elements * int(bits) // 8
