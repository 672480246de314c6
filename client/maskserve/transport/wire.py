"""Tensors as they travel: one encoding for gRPC and HTTP, and the reading of what comes back."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve import contract
from maskserve.errors import InferenceFailed
from maskserve.instances import Instances
from maskserve.masks import Mask, check_counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from maskserve.transport.cancellation import Cancellation

BYTES_LENGTH = struct.Struct("<I")  # in front of every element of a BYTES tensor
_MAX_PIXELS = 2**31
_MAX_INSTANCES = 100_000
_MAX_COUNTS = 4 << 20  # bytes of a mask's run lengths; reading them takes fifty times as many
_DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT32": np.dtype("<i4")}
_EXPECTED = {
    contract.BOXES: ("FP32", (None, 4)),
    contract.SCORES: ("FP32", (None,)),
    contract.LABELS: ("INT32", (None,)),
    contract.MASKS: ("BYTES", (None,)),
    contract.MASK_BOXES: ("INT32", (None, 4)),
    contract.IMAGE_SIZE: ("INT32", (2,)),
}


@dataclass(frozen=True, slots=True)
class Region:
    """System shared memory: its name, for the server and under /dev/shm, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor in the byte form of the inference protocol: little-endian, BYTES with 4-byte lengths.

    Where there is a `region`, it has the bytes, and `data` is empty.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes
    region: Region | None = None


def microseconds(timeout: float) -> int:
    """Return seconds as the request parameter `timeout` has them: a server computes no answer that comes later."""
    return int(min(max(timeout * 1e6, 1), 2**53))


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to segment.

    Attributes:
        image: an encoded image file.
        threshold: instances must score higher; None for the model's own.
        class_ids: keep only these classes; None for all.
        headers: sent along with this request; gRPC calls them metadata.
        cancellation: calls it off, as far as the transport can (gRPC can); None where nobody will.
    """

    image: bytes
    threshold: float | None = None
    class_ids: tuple[int, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cancellation: Cancellation | None = None

    def tensors(self, region: Region | None = None) -> list[Tensor]:
        """Return the inputs of the contract that this request fills; the image may be in a region already."""
        image = b"" if region else BYTES_LENGTH.pack(len(self.image)) + self.image
        tensors = [Tensor(contract.IMAGE, "BYTES", (1,), image, region)]
        if self.threshold is not None:
            tensors.append(Tensor(contract.THRESHOLD, "FP32", (1,), struct.pack("<f", self.threshold)))
        if self.class_ids is not None:
            ids = np.array(self.class_ids, "<i4")
            tensors.append(Tensor(contract.CLASS_IDS, "INT32", (ids.size,), ids.tobytes()))
        return tensors


class OwnAnswer(list[Tensor]):
    """An answer that stages in this process computed: its run lengths need no check, which can take milliseconds."""


def read_answer(answer: Sequence[Tensor], labels: Sequence[str]) -> Instances:
    """Return the instances in an answer, every claim of which is checked, unless it is this process's own.

    Args:
        answer: the output tensors of one request.
        labels: class names by class index; a class without one is named by its number.

    Raises:
        InferenceFailed: the answer does not keep the contract.
    """
    tensors = {tensor.name: tensor for tensor in answer}
    if len(tensors) < len(answer):
        raise InferenceFailed("the answer holds an output twice")
    columns = {name: _column(name, tensors) for name in contract.OUTPUTS}
    counts = _strings(tensors[contract.MASKS])
    count = len(counts)
    for name, column in columns.items():
        if name != contract.IMAGE_SIZE and len(column) != count:
            raise InferenceFailed(f"the answer holds {count} masks but {len(column)} {name}")
    size = _image_size(columns[contract.IMAGE_SIZE])
    class_ids = columns[contract.LABELS]
    if count and class_ids.min() < 0:
        raise InferenceFailed("the answer names a negative class")
    if not (np.isfinite(columns[contract.BOXES]).all() and np.isfinite(columns[contract.SCORES]).all()):
        raise InferenceFailed("the answer holds boxes or scores that are not finite")
    if (columns[contract.BOXES][:, 2:] < columns[contract.BOXES][:, :2]).any():
        raise InferenceFailed("the answer holds boxes that end before they begin")
    return Instances(
        boxes_xyxy=_clip(columns[contract.BOXES], size),
        scores=columns[contract.SCORES],
        class_ids=class_ids,
        labels=tuple(labels[i] if i < len(labels) else str(i) for i in class_ids.tolist()),
        masks=_masks(counts, columns[contract.MASK_BOXES], size, own=isinstance(answer, OwnAnswer)),
        image_size=size,
    )


def check_answer(answer: Sequence[Tensor], size: tuple[int, int]) -> int:
    """Check a whole answer for an image of `size` (height, width): its columns fit, and every mask can be decoded.

    Returns:
        The number of instances.

    Raises:
        InferenceFailed: the answer does not keep the contract.
    """
    instances = read_answer(answer, labels=())
    if instances.image_size != size:
        raise InferenceFailed(f"the answer is for an image of {instances.image_size}, which was {size}")
    for mask in instances.masks:
        mask.crop()
    return len(instances)


def _column(name: str, tensors: Mapping[str, Tensor]) -> NDArray[Any]:
    if name not in tensors:
        raise InferenceFailed(f"the answer has no {name}: this model does not keep the contract of maskserve")
    tensor = tensors[name]
    datatype, shape = _EXPECTED[name]
    fits = len(tensor.shape) == len(shape) and all(
        got >= 0 and want in (None, got) for got, want in zip(tensor.shape, shape, strict=True)
    )
    if tensor.datatype != datatype or not fits:
        raise InferenceFailed(f"{name} is {tensor.datatype} {list(tensor.shape)}, the contract says {datatype}")
    if tensor.shape and tensor.shape[0] > _MAX_INSTANCES:
        raise InferenceFailed(f"{name} holds {tensor.shape[0]:.3g} instances, {_MAX_INSTANCES} are the most")
    if datatype == "BYTES":
        return np.empty(tensor.shape[0], np.uint8)
    dtype = _DTYPES[datatype]
    if len(tensor.data) != prod(tensor.shape) * dtype.itemsize:
        raise InferenceFailed(f"{name} of shape {list(tensor.shape)} came with {len(tensor.data)} bytes")
    column: NDArray[Any] = np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
    return column


def _strings(tensor: Tensor) -> list[bytes]:
    strings, position, data = [], 0, tensor.data
    while position + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, position)
        position += 4 + length
        strings.append(data[position - length : position])
        if len(strings) > tensor.shape[0]:
            break
    if position != len(data) or len(strings) != tensor.shape[0]:
        raise InferenceFailed(f"{tensor.name} does not hold the {tensor.shape[0]} strings that it announces")
    return strings


def _image_size(values: NDArray[np.int32]) -> tuple[int, int]:
    height, width = values.tolist()
    if height <= 0 or width <= 0 or height * width >= _MAX_PIXELS:
        raise InferenceFailed(f"the answer is of an image of {height}x{width}")
    return height, width


def _clip(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def _masks(
    counts: list[bytes], boxes: NDArray[np.int32], size: tuple[int, int], *, own: bool = False
) -> tuple[Mask, ...]:
    if own:
        return tuple(Mask(text, (x, y, w, h), size) for text, (x, y, w, h) in zip(counts, boxes.tolist(), strict=True))
    masks = []
    for index, (text, (x, y, width, height)) in enumerate(zip(counts, boxes.tolist(), strict=True)):
        inside = min(x, y, width, height) >= 0 and x + width <= size[1] and y + height <= size[0]
        if not inside:
            raise InferenceFailed(f"mask {index} at {[x, y, width, height]} leaves the image of {size[0]}x{size[1]}")
        if len(text) > _MAX_COUNTS:
            raise InferenceFailed(f"mask {index} has {len(text)} bytes of run lengths, {_MAX_COUNTS} are the most")
        try:
            check_counts(text, height, width)
        except ValueError as error:
            raise InferenceFailed(f"mask {index} is damaged: {error}") from None
        masks.append(Mask(text, (x, y, width, height), size))
    return tuple(masks)
