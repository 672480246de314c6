"""PaddleX's preprocessing, written again for `verify` alone: it shares no code with the server that it checks.

Written from PaddleX's own steps, in their order and on RGB images. Nothing here is quick, and nothing may be imported
from `maskserve_server`: a mistake made once on both sides would be seen by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

Pixels = npt.NDArray[Any]

_NUMBERED = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)
_NAMED = {
    "NEAREST": cv2.INTER_NEAREST,
    "LINEAR": cv2.INTER_LINEAR,
    "CUBIC": cv2.INTER_CUBIC,
    "BICUBIC": cv2.INTER_CUBIC,
    "AREA": cv2.INTER_AREA,
    "LANCZOS4": cv2.INTER_LANCZOS4,
}
# What is left out: in PaddleX's `inference.yml`, and in PaddleDetection's `infer_cfg.yml`.
_PADDLEX = {"keep_ratio": False, "interp": 2, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "stride": 32}
_PADDLEDETECTION = {**_PADDLEX, "keep_ratio": True, "interp": 1}


@dataclass(frozen=True, slots=True)
class Feeds:
    """What Paddle's program reads.

    Attributes:
        image: float32 [1, 3, H, W].
        im_shape: float32 [1, 2], height and width after resizing, before padding.
        scale_factor: float32 [1, 2], height and width after resizing over those of the image.
        size: height and width of the image.
    """

    image: npt.NDArray[np.float32]
    im_shape: npt.NDArray[np.float32]
    scale_factor: npt.NDArray[np.float32]
    size: tuple[int, int]


class Preparation:
    """The `Preprocess` list of a model's settings.

    Args:
        settings: its `inference.yml` or `infer_cfg.yml`.
    """

    def __init__(self, settings: Path) -> None:
        content = yaml.safe_load(settings.read_text(encoding="utf-8-sig"))
        self._steps: list[Mapping[str, Any]] = content["Preprocess"]
        self._detection = settings.name == "infer_cfg.yml"
        self._defaults: Mapping[str, Any] = _PADDLEDETECTION if self._detection else _PADDLEX

    def __call__(self, image: npt.NDArray[np.uint8]) -> Feeds:
        """Prepare one image, uint8 [height, width, 3] BGR as `cv2.imread` gives it."""
        pixels: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        original = np.array(image.shape[:2])
        resized = original
        for step in self._steps:
            settings = {**self._defaults, **step}
            if step["type"] == "Resize":
                pixels = _resized(pixels, settings)
                resized = np.array(pixels.shape[:2])
            elif step["type"] == "NormalizeImage":
                pixels = self._normalized(pixels, settings)
            elif step["type"] == "Permute":
                pixels = np.moveaxis(pixels, 2, 0)
            elif step["type"] == "PadStride":
                pixels = _padded(pixels, settings["stride"])
        return Feeds(
            image=np.ascontiguousarray(pixels[None], np.float32),
            im_shape=resized[None].astype(np.float32),
            scale_factor=(resized / original)[None].astype(np.float32),
            size=(image.shape[0], image.shape[1]),
        )

    def _normalized(self, pixels: Pixels, settings: Mapping[str, Any]) -> Pixels:
        """Scale, subtract, divide; `norm_type: none` leaves only the scale in PaddleDetection, and all in PaddleX."""
        values = pixels.astype(np.float32)
        if settings.get("is_scale", True):
            values *= np.float32(1.0 / 255.0)
        if self._detection and settings.get("norm_type") == "none":
            return values
        values -= np.asarray(settings["mean"]).astype(np.float32)
        values /= np.asarray(settings["std"]).astype(np.float32)
        return values


def _resized(pixels: Pixels, settings: Mapping[str, Any]) -> Pixels:
    target = settings["target_size"]
    height, width = (target, target) if isinstance(target, int) else target
    if settings["keep_ratio"]:
        sides = pixels.shape[:2]
        scale = min(max(height, width) / max(sides), min(height, width) / min(sides))
        # PaddleX rounds to 0 and fails for images that are very long and very narrow; the server takes one pixel.
        height, width = (max(1, round(side * scale)) for side in sides)
    if (height, width) == pixels.shape[:2]:
        return pixels
    interp = settings["interp"]
    way = _NAMED[interp.upper()] if isinstance(interp, str) else _NUMBERED[interp]
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=way))


def _padded(pixels: Pixels, stride: int) -> Pixels:
    if stride <= 0:
        return pixels
    below, right = (-side % stride for side in pixels.shape[1:])
    return np.pad(pixels, ((0, 0), (0, below), (0, right)))
