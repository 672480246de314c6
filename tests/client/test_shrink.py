"""Images drawn smaller than they are, and the masks in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.paddlex.shrink import shrink_image, shrink_instances, smaller_size


def instances_of(*masks: Mask) -> Instances:
    size = masks[0].size
    count = len(masks)
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (mask.box for mask in masks)], np.float32)
    scores, ids = np.full(count, 0.5, np.float32), np.zeros(count, np.int32)
    return Instances(boxes.reshape(count, 4), scores, ids, ("a",) * count, masks, size)


@given(data=st.data())
def test_a_mask_is_looked_up_at_the_centres(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    small = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    pixels = np.random.default_rng(data.draw(st.integers(0, 99))).random((height, width)) < data.draw(st.floats(0, 1))
    mask = Mask.encode(pixels)
    (shrunk,) = shrink_instances(instances_of(mask), small).masks
    rows = ((np.arange(small[0]) + 0.5) * height / small[0] + 1e-9).astype(int)
    columns = ((np.arange(small[1]) + 0.5) * width / small[1] + 1e-9).astype(int)
    assert shrunk.size == small
    assert np.array_equal(shrunk.decode(), mask.decode()[rows][:, columns])


def test_boxes_are_scaled_and_the_rest_stays() -> None:
    instances = instances_of(Mask.from_crop(np.ones((20, 30)), 10, 40, (100, 200)))
    shrunk = shrink_instances(instances, (50, 100))
    assert shrunk.image_size == (50, 100)
    assert shrunk.boxes_xyxy.tolist() == [[5, 20, 20, 30]]
    assert (shrunk.scores.tolist(), shrunk.labels) == (instances.scores.tolist(), instances.labels)
    assert instances.image_size == (100, 200)


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((100, 200), 20_000, (100, 200)),
        ((100, 200), 5_000, (50, 100)),
        ((1, 1_000_000), 1000, (1, 1000)),
        ((1_000_000, 1), 1000, (1000, 1)),
    ],
)
def test_the_size(size: tuple[int, int], most: int, expected: tuple[int, int]) -> None:
    small = smaller_size(instances_of(Mask.from_crop(np.ones((1, 1)), 0, 0, size)), most)
    assert small == expected
    assert small[0] * small[1] <= most


def test_many_large_masks_make_it_smaller() -> None:
    """Painting them takes as long as their pixels are many."""
    mask = Mask.from_crop(np.ones((100, 200)), 0, 0, (100, 200))
    assert smaller_size(instances_of(*[mask] * 300), 20_000, mask_pixels=1_500_000) == (50, 100)


def test_an_image_is_averaged() -> None:
    pixels = np.indices((8, 8)).sum(0).astype(np.uint8)[:, :, None].repeat(3, 2) % 2 * 200
    assert np.array_equal(shrink_image(pixels, (4, 4)), np.full((4, 4, 3), 100))


def test_a_drawn_image_says_its_scale(result_of: Callable[..., Any]) -> None:
    pixels = np.full((60, 80, 3), 255, np.uint8)
    result = result_of(pixels, [(0, 0.9, (20.0, 10.0, 60.0, 50.0))], (60, 80))
    whole, smaller = result.draw(max_pixels=4800), result.draw(max_pixels=1200)
    assert (whole.size, whole.info.get("scale")) == ((80, 60), None)
    assert (smaller.size, smaller.info["scale"]) == ((40, 30), 0.5)
    assert np.array_equal(np.asarray(whole), np.asarray(result.draw()))
    tinted = np.asarray(smaller)
    assert tinted[20, 15].tolist() == np.asarray(whole)[40, 30].tolist() != [255] * 3  # in the left half of the box
    assert tinted[20, 25].tolist() == [255] * 3
    assert result.instances.boxes_xyxy.tolist() == [[20, 10, 60, 50]]


def test_cmyk_by_stripes(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskserve.inputs import decoding

    stored = np.random.default_rng(3).integers(0, 256, (37, 11, 4), np.uint8)
    whole = decoding.bgr_of_cmyk(stored)
    black = stored[:, :, 3:].astype(np.int32)
    expected = (black - ((255 - stored[:, :, 2::-1].astype(np.int32)) * black >> 8)).astype(np.uint8)
    assert np.array_equal(whole, expected)
    monkeypatch.setattr(decoding, "_STRIPE", 25)
    assert np.array_equal(decoding.bgr_of_cmyk(stored), expected)
