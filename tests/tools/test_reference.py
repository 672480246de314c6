"""What the yardstick is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskserve_tools.verify.preparing import Feeds
from maskserve_tools.verify.reference import ROUNDING, _with_whole_canvas, rounded_otherwise
from tests.packages import need

need("paddle", reason="the yardstick is Paddle")


_side = st.integers(1, 5000)


def _prepared(height: int, width: int) -> Feeds:
    resized = np.array([[640, 640]], np.float32)
    scale = np.array([[640 / height, 640 / width]]).astype(np.float32)
    return Feeds(np.zeros((1, 3, 1, 1), np.float32), resized, scale, (height, width))


def test_a_row_short_is_what_paddle_makes_of_300() -> None:
    prepared = _prepared(300, 400)
    assert int(prepared.im_shape[0, 0] / prepared.scale_factor[0, 0]) == 299


@given(_side, _side)
def test_the_canvas_is_as_large_as_the_image_and_the_scale_all_but_the_same(height: int, width: int) -> None:
    prepared = _prepared(height, width)
    given = _with_whole_canvas(prepared)
    canvas = (given.im_shape / given.scale_factor).astype(int)
    assert canvas.tolist() == [[height, width]]
    np.testing.assert_allclose(given.scale_factor, prepared.scale_factor, rtol=3e-7)


@given(st.integers(0, 3))
def test_an_input_rounded_otherwise_moves_everywhere_and_by_no_more_than_a_millionth(number: int) -> None:
    image = np.random.default_rng(7).normal(size=(1, 3, 40, 50)).astype(np.float32)
    image[..., 45:] = 0  # the padding stays what it is
    given = replace(_prepared(300, 400), image=image)
    moved = rounded_otherwise(given, number)
    assert moved.image.dtype == np.float32
    assert (moved.image != image).mean() > 0.89
    assert not moved.image[..., 45:].any()
    np.testing.assert_allclose(moved.image, image, rtol=1.2 * ROUNDING, atol=0)
    np.testing.assert_array_equal(moved.image, rounded_otherwise(given, number).image)
    assert (moved.image != rounded_otherwise(given, number + 1).image).mean() > 0.3
    assert moved.scale_factor is given.scale_factor
