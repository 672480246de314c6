"""Preprocessing, against PaddleX's formulas written out plainly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskserve.errors import ToolError
from maskserve_server.preprocess import Preprocessor

DETR: list[dict[str, Any]] = [
    {"type": "Resize", "target_size": [32, 48], "keep_ratio": False, "interp": 2},
    {"type": "NormalizeImage", "mean": [0.0] * 3, "std": [1.0] * 3, "norm_type": "none"},
    {"type": "Permute"},
]
RCNN: list[dict[str, Any]] = [
    {"type": "Resize", "target_size": [64, 100], "keep_ratio": True, "interp": 2},
    {"type": "NormalizeImage", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True},
    {"type": "Permute"},
    {"type": "PadStride", "stride": 32},
]
SOLO: list[dict[str, Any]] = [
    {"type": "NormalizeImage", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True},
    {"type": "Resize", "target_size": [64, 100], "keep_ratio": True, "interp": 1},
    {"type": "Permute"},
    {"type": "PadStride", "stride": 32},
]


def _image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def test_a_fixed_size_is_stretched_to_and_divided_by_255() -> None:
    input_image = _image(90, 120)
    prepared = Preprocessor(DETR)(input_image)
    rgb = cv2.resize(input_image, (48, 32), interpolation=cv2.INTER_CUBIC)[:, :, ::-1]
    np.testing.assert_allclose(prepared.image[0], rgb.transpose(2, 0, 1) * np.float32(1 / 255), rtol=1e-6)
    np.testing.assert_array_equal(prepared.im_shape, [[32, 48]])
    np.testing.assert_array_equal(prepared.scale_factor, np.array([[32 / 90, 48 / 120]], np.float32))
    assert prepared.size == (90, 120)
    assert prepared.image.flags.c_contiguous


def test_a_kept_ratio_fits_into_the_target_and_is_padded_on_the_right_and_below() -> None:
    input_image = _image(90, 120)
    prepared = Preprocessor(RCNN)(input_image)
    height, width = 64, round(120 * 64 / 90)
    mean, std = np.array(RCNN[1]["mean"], np.float32), np.array(RCNN[1]["std"], np.float32)
    rgb = cv2.resize(input_image, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, ::-1].astype(np.float32)
    wanted = ((rgb * np.float32(1 / 255) - mean) / std).transpose(2, 0, 1)
    assert prepared.image.shape == (1, 3, 64, 96)
    np.testing.assert_allclose(prepared.image[0, :, :height, :width], wanted, rtol=1e-5, atol=1e-6)
    assert not prepared.image[0, :, :, width:].any()
    np.testing.assert_array_equal(prepared.im_shape, [[height, width]])
    np.testing.assert_array_equal(prepared.scale_factor, np.array([[height / 90, width / 120]], np.float32))


def test_the_order_of_the_steps_is_the_files() -> None:
    input_image = _image(90, 120)
    mean, std = np.array(SOLO[0]["mean"], np.float32), np.array(SOLO[0]["std"], np.float32)
    normalised = (input_image[:, :, ::-1].astype(np.float32) * np.float32(1 / 255) - mean) / std
    wanted = cv2.resize(normalised, (85, 64), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    image = Preprocessor(SOLO)(input_image).image
    np.testing.assert_allclose(image[0, :, :64, :85], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [DETR, RCNN, SOLO])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_the_smallest_photos_are_prepared(steps: list[dict[str, Any]], size: tuple[int, int]) -> None:
    prepared = Preprocessor(steps)(_image(*size))
    assert np.isfinite(prepared.image).all()
    assert min(prepared.image.shape) >= 1


@settings(deadline=None)
@given(
    st.lists(st.floats(-3, 3, width=32), min_size=3, max_size=3) | st.just([0.0] * 3),
    st.lists(st.floats(0.015625, 4, width=32), min_size=3, max_size=3) | st.just([1.0] * 3),
    st.booleans(),
    st.integers(0, 1000),
)
def test_looked_up_values_are_the_computed_ones_bit_for_bit(
    mean: list[float], std: list[float], is_scale: bool, seed: int
) -> None:
    steps: list[dict[str, Any]] = [
        {"type": "Resize", "target_size": [16, 24], "keep_ratio": False, "interp": 2},
        {"type": "NormalizeImage", "mean": mean, "std": std, "is_scale": is_scale},
        {"type": "Permute"},
    ]
    bgr = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), np.uint8)
    values = bgr[:, :, ::-1] * np.float32(1 / 255 if is_scale else 1)
    if any(mean):
        values = values - np.array(mean, np.float32)
    wanted = (values / np.array(std, np.float32)).transpose(2, 0, 1)
    assert wanted.dtype == np.float32
    image = Preprocessor(steps)(bgr).image[0]
    np.testing.assert_array_equal(image.view(np.uint32), np.ascontiguousarray(wanted).view(np.uint32))


@pytest.mark.parametrize("view", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[:, :, ::-1]])
def test_an_image_of_the_wanted_size_in_any_order_of_memory(view: Callable[[np.ndarray], np.ndarray]) -> None:
    """A bottom-up BMP file is lent as it is."""
    stored = _image(32, 48)
    stored.flags.writeable = False
    np.testing.assert_array_equal(
        Preprocessor(DETR)(view(stored)).image, Preprocessor(DETR)(np.ascontiguousarray(view(stored))).image
    )
    np.testing.assert_allclose(
        Preprocessor(DETR)(view(stored)).image[0],
        view(stored)[:, :, ::-1].transpose(2, 0, 1) * np.float32(1 / 255),
        rtol=1e-6,
    )


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(ToolError, match="WarpAffine"):
        Preprocessor([*DETR, {"type": "WarpAffine"}])
