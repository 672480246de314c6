"""Preprocessing, against PaddleX's formulas written out plainly."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from maskserve.errors import ToolError
from maskserve_server.preprocess import Preprocessor

DETR = [
    {"type": "Resize", "target_size": [32, 48], "keep_ratio": False, "interp": 2},
    {"type": "NormalizeImage", "mean": [0.0] * 3, "std": [1.0] * 3, "norm_type": "none"},
    {"type": "Permute"},
]
RCNN = [
    {"type": "Resize", "target_size": [64, 100], "keep_ratio": True, "interp": 2},
    {"type": "NormalizeImage", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True},
    {"type": "Permute"},
    {"type": "PadStride", "stride": 32},
]
SOLO = [
    {"type": "NormalizeImage", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True},
    {"type": "Resize", "target_size": [64, 100], "keep_ratio": True, "interp": 1},
    {"type": "Permute"},
    {"type": "PadStride", "stride": 32},
]


def _photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def test_a_fixed_size_is_stretched_to_and_divided_by_255() -> None:
    photo = _photo(90, 120)
    prepared = Preprocessor(DETR)(photo)
    rgb = cv2.resize(photo, (48, 32), interpolation=cv2.INTER_CUBIC)[:, :, ::-1]
    np.testing.assert_allclose(prepared.image[0], rgb.transpose(2, 0, 1) * np.float32(1 / 255), rtol=1e-6)
    np.testing.assert_array_equal(prepared.im_shape, [[32, 48]])
    np.testing.assert_array_equal(prepared.scale_factor, np.array([[32 / 90, 48 / 120]], np.float32))
    assert prepared.size == (90, 120)
    assert prepared.image.flags.c_contiguous


def test_a_kept_ratio_fits_into_the_target_and_is_padded_on_the_right_and_below() -> None:
    photo = _photo(90, 120)
    prepared = Preprocessor(RCNN)(photo)
    height, width = 64, round(120 * 64 / 90)
    mean, std = np.array(RCNN[1]["mean"], np.float32), np.array(RCNN[1]["std"], np.float32)
    rgb = cv2.resize(photo, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, ::-1].astype(np.float32)
    wanted = ((rgb * np.float32(1 / 255) - mean) / std).transpose(2, 0, 1)
    assert prepared.image.shape == (1, 3, 64, 96)
    np.testing.assert_allclose(prepared.image[0, :, :height, :width], wanted, rtol=1e-5, atol=1e-6)
    assert not prepared.image[0, :, :, width:].any()
    np.testing.assert_array_equal(prepared.im_shape, [[height, width]])
    np.testing.assert_array_equal(prepared.scale_factor, np.array([[height / 90, width / 120]], np.float32))


def test_the_order_of_the_steps_is_the_files() -> None:
    photo = _photo(90, 120)
    mean, std = np.array(SOLO[0]["mean"], np.float32), np.array(SOLO[0]["std"], np.float32)
    normalised = (photo[:, :, ::-1].astype(np.float32) * np.float32(1 / 255) - mean) / std
    wanted = cv2.resize(normalised, (85, 64), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    image = Preprocessor(SOLO)(photo).image
    np.testing.assert_allclose(image[0, :, :64, :85], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [DETR, RCNN, SOLO])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_the_smallest_photos_are_prepared(steps: list[dict[str, Any]], size: tuple[int, int]) -> None:
    prepared = Preprocessor(steps)(_photo(*size))
    assert np.isfinite(prepared.image).all()
    assert min(prepared.image.shape) >= 1


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(ToolError, match="WarpAffine"):
        Preprocessor([*DETR, {"type": "WarpAffine"}])
