"""An image as an array and as a file, and a tensor as libraries of tensors have it: what the tests give as sources."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

BGR = np.random.default_rng(5).integers(0, 256, (7, 5, 3), np.uint8)
PNG = cv2.imencode(".png", BGR)[1].tobytes()


class Tensor:
    """What libraries of tensors have in common: an `__array__`, and elements."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    def __iter__(self) -> Any:
        return iter([Tensor(value) for value in self.values])

    def __len__(self) -> int:
        return len(self.values)
