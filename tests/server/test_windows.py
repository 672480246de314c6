"""Windows; and the painters that are the oracle of run lengths, with cv2's and Paddle's resizing as their oracle."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.painters import paint_window, paint_window_with_cv2, resize_window

from maskserve_server.painting.once import paint_once
from maskserve_server.painting.windows import area, crop_windows

sides = st.integers(1, 90)


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int], tuple[int, int, int, int]]:
    """A source, the size to resize it to, and a window of the result."""
    height, width = draw(sides), draw(sides)
    x0, x1 = sorted((draw(st.integers(0, width)), draw(st.integers(0, width))))
    y0, y1 = sorted((draw(st.integers(0, height)), draw(st.integers(0, height))))
    source = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(draw(sides), draw(sides)))
    return source.astype(np.float32), (height, width), (x0, y0, x1, y1)


@settings(deadline=None)
@given(windows())
def test_a_window_is_a_part_of_the_resized_picture(case: tuple[np.ndarray, tuple[int, int], tuple[int, ...]]) -> None:
    source, (height, width), (x0, y0, x1, y1) = case
    whole = cv2.resize(source, (width, height), interpolation=cv2.INTER_LINEAR)[y0:y1, x0:x1]
    np.testing.assert_allclose(resize_window(source, (height, width), (x0, y0, x1, y1)), whole, atol=1e-4)


@pytest.mark.parametrize(("side", "size"), [((640, 640), (300, 400)), ((160, 160), (427, 640)), ((28, 40), (37, 19))])
def test_ties_between_two_cells_fall_as_they_do_in_paddle(side: tuple[int, int], size: tuple[int, int]) -> None:
    """Half-way between a 0 and a 1 the last bit decides: positions are single precision in Paddle, and here."""
    paddle = pytest.importorskip("paddle", reason="the oracle is Paddle", exc_type=ImportError)
    source = np.random.default_rng(2).integers(0, 2, side).astype(np.float32)
    whole = paddle.nn.functional.interpolate(paddle.to_tensor(source[None, None]), size, mode="bilinear").numpy()[0, 0]
    window = (3, 2, size[1] - 1, size[0])
    painted = paint_window(source, size, window, 0.5)
    np.testing.assert_allclose(resize_window(source, size, window), whole[2:, 3:-1], atol=1e-6)
    assert np.mean(painted != (whole[2:, 3:-1] > 0.5)) < 1e-4


painters = pytest.mark.parametrize("paint", [paint_window, paint_window_with_cv2])


@painters
@settings(deadline=None)
@given(case=windows())
def test_painting_is_thresholding_the_window(
    paint: Callable[..., np.ndarray], case: tuple[np.ndarray, tuple[int, int], tuple[int, ...]]
) -> None:
    source, (height, width), (x0, y0, x1, y1) = case
    painted = paint(source, (height, width), (x0, y0, x1, y1), 0.2)
    values = resize_window(source, (height, width), (x0, y0, x1, y1))
    clear = np.abs(values - 0.2) > 1e-5
    assert painted.flags.f_contiguous
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted[clear], (values > 0.2)[clear])


@painters
@pytest.mark.parametrize(("height", "width"), [(1200, 1500), (2400, 1800)])
def test_a_large_window_is_painted_without_seams(paint: Callable[..., np.ndarray], height: int, width: int) -> None:
    source = np.random.default_rng(1).normal(size=(40, 40)).astype(np.float32)
    whole = cv2.resize(source, (width, height), interpolation=cv2.INTER_LINEAR)
    painted = paint(source, (height, width), (0, 0, width, height), 0.0)
    assert np.mean(painted != (whole > 0)) < 1e-6


def test_corners_are_rounded_half_to_even_as_python_does() -> None:
    boxes = np.array([[0.5, 1.5, 2.5, 3.5], [9.4, 9.6, 99.0, 99.0]], np.float32)
    assert crop_windows(boxes, (20, 30)) == [(0, 2, 2, 4), (9, 10, 30, 20)]


def test_a_box_thinner_than_a_pixel_has_an_empty_window() -> None:
    ((x0, _, x1, _),) = crop_windows(np.array([[3.1, 2.0, 3.3, 8.0]], np.float32), (20, 30))
    assert x0 == x1 == 3
    assert area((3, 2, 3, 8)) == 0
    (runs,) = paint_once(np.ones((1, 4, 4), np.float32), [0], (20, 30), [(3, 2, 3, 8)], 0.5)
    assert runs.sum() == 0
