"""The `Preprocess` list of an `inference.yml`, done exactly as PaddleX does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskserve.errors import ToolError

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


_Step = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


class Preprocessor:
    """Turns decoded images into network inputs.

    Args:
        steps: the `Preprocess` list of `inference.yml`.

    Raises:
        ToolError: a step, or a setting of one, is not known.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]]) -> None:
        kinds = [str(step.get("type")) for step in steps]
        if unknown := sorted(set(kinds) - {"Resize", "NormalizeImage", "Permute", "PadStride"}):
            raise ToolError(f"inference.yml asks for preprocessing that is not known: {', '.join(unknown)}")
        if kinds.count("Resize") != 1 or kinds.count("Permute") != 1:
            raise ToolError(f"inference.yml must resize and permute exactly once; it lists {kinds}")
        at = kinds.index("Resize")
        self._resize: _Step = partial(_resize, **_resize_settings(steps[at]))
        self._before = [_step(step) for step in steps[:at]]
        self._after = [_step(step) for step in steps[at + 1 :]]

    def __call__(self, image: npt.NDArray[np.uint8]) -> Prepared:
        """Prepare one image, uint8 [height, width, 3] BGR as cv2 decodes it."""
        height, width = image.shape[:2]
        pixels: npt.NDArray[Any] = image
        for step in self._before:
            pixels = step(pixels)
        pixels = self._resize(pixels)
        resized = pixels.shape[:2]
        for step in self._after:
            pixels = step(pixels)
        return Prepared(
            image=np.ascontiguousarray(pixels, np.float32)[None],
            im_shape=np.array([resized], np.float32),
            scale_factor=np.array([[resized[0] / height, resized[1] / width]]).astype(np.float32),
            size=(height, width),
        )


def _step(step: Mapping[str, Any]) -> _Step:
    match step["type"]:
        case "NormalizeImage":
            return partial(_normalize, **_normalize_settings(step))
        case "Permute":
            return _permute
        case _:
            return partial(_pad, stride=int(step["stride"]))


def _resize_settings(step: Mapping[str, Any]) -> dict[str, Any]:
    target = step["target_size"]
    height, width = (target, target) if isinstance(target, int) else target
    return {
        "target": (int(height), int(width)),
        "keep_ratio": bool(step.get("keep_ratio", True)),
        "interpolation": int(step.get("interp", cv2.INTER_LINEAR)),
    }


def _resize(image: npt.NDArray[Any], target: tuple[int, int], keep_ratio: bool, interpolation: int) -> npt.NDArray[Any]:
    height, width = image.shape[:2]
    if keep_ratio:
        scale = min(max(target) / max(height, width), min(target) / min(height, width))
        target = (max(round(height * scale), 1), max(round(width * scale), 1))
    if target == (height, width):
        return image
    return np.asarray(cv2.resize(image, target[::-1], interpolation=interpolation))


def _normalize_settings(step: Mapping[str, Any]) -> dict[str, Any]:
    plain = step.get("norm_type", "mean_std") == "none"
    return {
        "scale": 1 / 255 if step.get("is_scale", True) else 1.0,
        "mean": np.array([0, 0, 0] if plain else step["mean"], np.float32),
        "std": np.array([1, 1, 1] if plain else step["std"], np.float32),
    }


def _normalize(image: npt.NDArray[Any], scale: float, mean: Floats, std: Floats) -> Floats:
    """(image * scale - mean) / std in single precision, in that order; `mean` and `std` are RGB, the image is BGR."""
    result = np.empty(image.shape, np.float32)
    np.multiply(image, np.float32(scale), out=result, dtype=np.float32)
    if mean.any():
        result -= mean[::-1]
    if (std != 1).any():
        result /= std[::-1]
    return result


def _permute(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """BGR [H, W, 3] to RGB [3, H, W]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[::-1])


def _pad(image: npt.NDArray[Any], stride: int) -> npt.NDArray[Any]:
    """Pad [3, H, W] with zeros on the right and below to multiples of `stride`."""
    if stride <= 0:
        return image
    channels, height, width = image.shape
    padded = np.zeros((channels, -(-height // stride) * stride, -(-width // stride) * stride), image.dtype)
    padded[:, :height, :width] = image
    return padded
