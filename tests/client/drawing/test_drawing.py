"""Whole images: nothing found, one pixel, a hundred instances, edges of bands, and instances without pixels."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.drawing.scenes import Size, blobs, filled, instances_of

from maskserve.drawing import painting
from maskserve.drawing.draw import chosen_look, draw
from maskserve.drawing.look import colour, look
from maskserve.instances import Instances
from maskserve.paddlex.generations import generation_named
from maskserve.rle import edges

HABITS = generation_named("3.0b2")
PALETTE = [colour(code) for code in look()["palette"]]


def drawn(found: Instances, value: int = 100, **options: Any) -> NDArray[np.uint8]:
    canvas = np.full((*found.image_size, 3), value, np.uint8)
    return np.asarray(draw(canvas, found, chosen_look("maskserve", options), HABITS))


def test_nothing_found_leaves_the_image() -> None:
    assert (drawn(instances_of([], (60, 80)), show=("masks", "boxes", "labels")) == 100).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (48, 48), (16, 3000)])
def test_small_and_thin_images(size: Size) -> None:
    found = instances_of([np.ones(size), filled(size, 0, 0, 1, 1)], size)
    image = drawn(found, show=("masks", "boxes", "labels"))
    assert image.shape == (*size, 3)
    assert (image != 100).any()


def test_a_label_on_48_pixels_is_legible() -> None:
    size = (48, 64)
    image = drawn(instances_of([filled(size, 4, 4, 64, 48)], size))
    ink = (np.abs(image.astype(int) - colour(look()["darkInk"])).max(axis=2) < 60).any(axis=0)
    assert 20 < np.flatnonzero(ink)[-1] - np.flatnonzero(ink)[0] < 60


def test_a_hundred_instances_have_labels_and_take_little_time() -> None:
    found = blobs(np.random.default_rng(5), 100, (960, 1280))
    begun = time.process_time()
    image = drawn(found)
    assert time.process_time() - begun < 10
    plates = sum(bool((image == code).all(axis=2).any()) for code in PALETTE)
    assert plates == len(PALETTE)


def test_an_instance_without_pixels_is_seen_as_a_box() -> None:
    found = instances_of([np.zeros((100, 200))], (100, 200), boxes=[(50, 20, 150, 80)])
    image = drawn(found, show="masks")
    assert tuple(image[20, 100]) == tuple(image[79, 100]) == tuple(image[50, 50]) == tuple(image[50, 149]) == PALETTE[0]
    assert (image[50, 100] == 100).all()


@pytest.mark.parametrize("box", [(0, 0, 200, 100), (190, 95, 200, 100), (199.5, 99.5, 200, 100), (5, 5, 5, 5)])
def test_boxes_at_the_edge(box: tuple[float, ...]) -> None:
    found = instances_of([np.zeros((100, 200))], (100, 200), boxes=[box])
    assert (drawn(found, show=("boxes", "labels")) != 100).any()


def simple(mask: NDArray[np.uint8], paper: tuple[int, ...], opacity: float, line: float) -> NDArray[np.float64]:
    """The same mask drawn on grey, at once and slowly."""
    away = cv2.distanceTransform(np.pad(1 - mask, 40, constant_values=1), cv2.DIST_L2, 5)[40:-40, 40:-40]
    share = np.where(mask == 1, opacity, np.clip(line + 1 - away, 0, 1))[:, :, None]
    return np.asarray(100 * (1 - share) + np.array(paper) * share)


@pytest.mark.parametrize("band", [1, 700, 5000, 1 << 20])
@pytest.mark.parametrize("line", [1.0, 1.75, 7.0])
def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch, band: int, line: float) -> None:
    monkeypatch.setattr(painting, "_BAND_PIXELS", band)
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.random((70, 90)), (0, 0), 4)
    pixels = (noise > np.quantile(noise, 0.6)).astype(np.uint8)
    pixels[:, :3] = pixels[66:, :] = 1  # to the edges, too
    for mask in (pixels, np.pad(pixels[10:40, 10:50], ((20, 20), (25, 25)))):
        (found,) = instances_of([mask], (mask.shape[0], mask.shape[1])).masks
        rgb = np.full((*mask.shape, 3), 100, np.uint8)
        painting.paint_mask(rgb, found, edges(found.counts), PALETTE[3], opacity=0.38, line=line)
        assert np.abs(rgb - simple(mask, PALETTE[3], 0.38, line)).max() <= 1


def test_small_objects_are_drawn_over_large_ones() -> None:
    size = (200, 200)
    small, large = filled(size, 80, 80, 120, 120), filled(size, 10, 10, 190, 190)
    for masks in ([small, large], [large, small]):
        found = instances_of(masks, size)
        image = drawn(found, show="masks", opacity=1)
        assert tuple(image[100, 100]) == PALETTE[0 if masks[0] is small else 1]


def test_damaged_run_lengths_are_an_error() -> None:
    found = instances_of([filled((50, 50), 5, 5, 20, 20)], (50, 50))
    wrong = type(found.masks[0])(found.masks[0].counts, (5, 5, 15, 16), (50, 50))
    with pytest.raises(ValueError, match="run lengths"):
        rgb = np.zeros((50, 50, 3), np.uint8)
        painting.paint_mask(rgb, wrong, edges(wrong.counts), PALETTE[0], opacity=1, line=1)
