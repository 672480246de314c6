"""What the yardstick is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("paddle", reason="the yardstick is Paddle", exc_type=ImportError)

from maskserve_server.preprocess import Prepared
from maskserve_tools.verifying.reference import _with_whole_canvas

_side = st.integers(1, 5000)


def _prepared(height: int, width: int) -> Prepared:
    resized = np.array([[640, 640]], np.float32)
    scale = np.array([[640 / height, 640 / width]]).astype(np.float32)
    return Prepared(np.zeros((1, 3, 1, 1), np.float32), resized, scale, (height, width))


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
