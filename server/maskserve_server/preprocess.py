"""The `Preprocess` list of an `inference.yml`, done exactly as PaddleX does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskserve_server.steps import Normalize, PadStride, Permute, Resize, Step, read_steps

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a network reads, and what its answers are mapped back with.

    Attributes:
        image: float32 [1, 3, H, W], RGB.
        im_shape: float32 [1, 2], height and width after resizing, before padding.
        scale_factor: float32 [1, 2], `im_shape` over the original height and width.
        size: height and width of the original image.
    """

    image: Floats
    im_shape: Floats
    scale_factor: Floats
    size: tuple[int, int]


_Call = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


class Preprocessor:
    """Turns decoded images into network inputs.

    Args:
        steps: the `Preprocess` list of `inference.yml`.

    Raises:
        ToolError: a step, a setting or the order is wrong, see `read_steps`.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]]) -> None:
        read = read_steps(steps)
        at = next(index for index, step in enumerate(read) if isinstance(step, Resize))
        self._before = [_call(step) for step in read[:at]]
        step = read[at]
        assert isinstance(step, Resize)
        self._step = step
        self._after = _calls(read[at + 1 :])

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width that an image of this height and width is resized to."""
        return _target(size, self._step)

    def __call__(self, image: npt.NDArray[np.uint8], size: tuple[int, int] | None = None) -> Prepared:
        """Prepare one image.

        Args:
            image: uint8 [height, width, 3] BGR as cv2 decodes it.
            size: height and width of the original image where `image` is a smaller one of it; None where it is not.
        """
        height, width = size or image.shape[:2]
        pixels: npt.NDArray[Any] = image
        for step in self._before:
            pixels = step(pixels)
        pixels = _resize(pixels, _target((height, width), self._step), self._step.interpolation)
        resized = pixels.shape[:2]
        for step in self._after:
            pixels = step(pixels)
        return Prepared(
            image=np.ascontiguousarray(pixels, np.float32)[None],
            im_shape=np.array([resized], np.float32),
            scale_factor=np.array([[resized[0] / height, resized[1] / width]]).astype(np.float32),
            size=(height, width),
        )


def _calls(steps: Sequence[Step]) -> list[_Call]:
    """Return what does the steps; normalising and then permuting is one."""
    if len(steps) > 1 and isinstance(steps[0], Normalize) and isinstance(steps[1], Permute):
        return [_NormalizedPlanes(_call(steps[0])), *map(_call, steps[2:])]
    return [_call(step) for step in steps]


def _call(step: Step) -> _Call:
    match step:
        case Resize():
            raise AssertionError("a second Resize; read_steps refuses it")
        case Normalize():
            mean, std = np.array(step.mean, np.float32), np.array(step.std, np.float32)
            return partial(_normalize, scale=step.scale, mean=mean, std=std)
        case Permute():
            return _permute
        case PadStride():
            return partial(_pad, stride=step.stride)


def _target(size: tuple[int, int], step: Resize) -> tuple[int, int]:
    target = (step.height, step.width)
    if not step.keep_ratio:
        return target
    height, width = size
    scale = min(max(target) / max(height, width), min(target) / min(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _resize(image: npt.NDArray[Any], target: tuple[int, int], interpolation: int) -> npt.NDArray[Any]:
    if target == image.shape[:2]:
        return image
    return np.asarray(cv2.resize(image, target[::-1], interpolation=interpolation))


def _normalize(image: npt.NDArray[Any], scale: float, mean: Floats, std: Floats) -> Floats:
    """Return (image * scale - mean) / std in single precision, in that order; `mean`, `std` are RGB, the image BGR."""
    result = np.empty(image.shape, np.float32)
    np.multiply(image, np.float32(scale), out=result, dtype=np.float32)
    if mean.any():
        result -= mean[::-1]
    if (std != 1).any():
        result /= std[::-1]
    return result


class _NormalizedPlanes:
    """Normalises an image and changes it to [3, H, W].

    A byte has 256 values: their normalised ones are computed once, with the same arithmetic, and looked up, which takes
    a tenth of the time.

    Args:
        normalize: what normalises [H, W, 3] BGR.
    """

    def __init__(self, normalize: _Call) -> None:
        self._normalize = normalize
        values = normalize(np.arange(256, dtype=np.uint8).reshape(256, 1, 1).repeat(3, axis=2))
        self._tables = [np.ascontiguousarray(values[:, 0, channel]) for channel in range(3)]

    def __call__(self, image: npt.NDArray[Any]) -> Floats:
        """Return float32 [3, H, W] RGB of an image [H, W, 3] BGR."""
        if image.dtype != np.uint8:
            return _permute(self._normalize(image))
        planes = np.empty((3, *image.shape[:2]), np.float32)
        for channel, plane in enumerate(cv2.split(image)):
            cv2.LUT(plane, self._tables[channel], dst=planes[2 - channel])
        return planes


def _permute(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Change BGR [H, W, 3] to RGB [3, H, W]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[::-1])


def _pad(image: npt.NDArray[Any], stride: int) -> npt.NDArray[Any]:
    """Pad [3, H, W] with zeros on the right and below to multiples of `stride`."""
    if stride <= 0:
        return image
    channels, height, width = image.shape
    padded = np.zeros((channels, -(-height // stride) * stride, -(-width // stride) * stride), image.dtype)
    padded[:, :height, :width] = image
    return padded
