"""Outlines for formats that have polygons, painted again by those who read them.

The rule: with ``parts="join"`` pycocotools paints exactly the mask, and so does everything else that asks whether the
centre of a pixel is inside (OpenCV does on a finer grid). With ``parts="split"`` it is the mask with its holes filled.
OpenCV and Pillow, which paint the outline itself, too, add at most the pixels at the right and at the lower edge, and
those of the bridges between parts.
"""

import time

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from maskserve import InvalidParameter
from maskserve.exports.common import outlines, signed_area
from maskserve.masks import Mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl")  # pycocotools' decode under numpy 2
FINER = 8


def ring(size):
    pixels = np.ones((size, size), bool)
    pixels[1:-1, 1:-1] = False
    return pixels


shapes = st.one_of(
    arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))).map(lambda a: np.kron(a, np.ones((2, 3), bool))),
)


def examples(test):
    island = ring(7)
    island[3, 3] = True
    for pixels in (
        np.ones((1, 1), bool),
        np.zeros((4, 5), bool),
        np.ones((3, 4), bool),
        np.eye(181, dtype=bool),
        np.eye(30, dtype=bool)[::-1],
        np.kron(ring(3), ring(4)).astype(bool),
        island,
        np.indices((9, 9)).sum(axis=0) % 2 == 0,
        np.pad(ring(3), 4),
    ):
        test = example(pixels)(test)
    return test


def painted_by_coco(polygons, shape):
    if not polygons:
        return np.zeros(shape, bool)
    flat = [polygon.astype(float).ravel().tolist() for polygon in polygons]
    return coco.decode(coco.merge(coco.frPyObjects(flat, *shape))).astype(bool)


def painted_by_opencv(polygons, shape):
    fine = np.zeros((shape[0] * FINER, shape[1] * FINER), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(fine, [(polygon * FINER).astype(np.int32)], 1)
    return fine[FINER // 2 :: FINER, FINER // 2 :: FINER].astype(bool)


def without_holes(pixels):
    contours, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(pixels.astype(np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)


@examples
@given(shapes)
def test_joined_outlines_hold_exactly_the_mask(pixels):
    found = outlines(Mask.encode(pixels), "join")
    assert len(found) == pixels.any()
    assert sum(signed_area(outline) for outline in found) == pixels.sum()
    assert np.array_equal(painted_by_coco(found, pixels.shape), pixels)
    assert np.array_equal(painted_by_opencv(found, pixels.shape), pixels)
    for outline in found:  # inside the image, along the edges of pixels
        assert (outline >= 0).all()
        assert (outline <= pixels.shape[::-1]).all()
        steps = np.roll(outline, -1, axis=0) - outline
        assert ((steps == 0).sum(axis=1) == 1).all()


@examples
@given(shapes)
def test_split_outlines_hold_the_mask_and_its_holes(pixels):
    found = outlines(Mask.encode(pixels), "split")
    assert np.array_equal(painted_by_coco(found, pixels.shape), without_holes(pixels))
    assert np.array_equal(painted_by_opencv(found, pixels.shape), without_holes(pixels))
    assert len(found) == cv2.connectedComponents(pixels.astype(np.uint8), connectivity=8)[0] - 1


@examples
@given(shapes)
def test_the_largest_part(pixels):
    found = outlines(Mask.encode(pixels), "largest")
    assert len(found) == pixels.any()
    if found:
        parts = outlines(Mask.encode(pixels), "split")
        assert signed_area(found[0]) == max(map(signed_area, parts))


def test_a_thin_diagonal_is_one_thing():
    mask = Mask.encode(np.eye(181, dtype=bool))
    for parts in ("split", "largest", "join"):
        (outline,) = outlines(mask, parts)
        assert signed_area(outline) == 181


def test_a_bridge_is_passed_in_both_directions():
    pixels = np.zeros((4, 9), bool)
    pixels[:2, :2] = pixels[1:3, 6:8] = True
    (outline,) = outlines(Mask.encode(pixels), "join")
    assert outline.tolist() == [
        *([0, 0], [2, 0], [2, 1], [6, 1], [8, 1], [8, 3], [6, 3], [6, 1], [2, 1], [2, 2], [0, 2]),
    ]


def test_thousands_of_parts_take_no_quadratic_time():
    dots = np.zeros((200, 200), bool)
    dots[::2, ::2] = True
    start = time.process_time()
    (outline,) = outlines(Mask.encode(dots), "join")
    assert signed_area(outline) == 10_000
    assert time.process_time() - start < 20  # half a second; a minute if each part looked at all others


def test_an_unknown_form():
    with pytest.raises(InvalidParameter, match="no form 'all' of parts: split, largest and join"):
        outlines(Mask.encode(np.eye(2)), "all")  # type: ignore[arg-type]
