"""SOLOv2's painting, with cv2's whole-image resizing as the oracle, and its boxes, which come from the masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from maskserve.masks import decode_crop
from maskserve_server.families import FAMILIES, Selection, load_family
from maskserve_server.families.solov2 import LABELS, MASKS, SCORES, SOLOv2
from maskserve_server.postprocess import Instances, postprocess

UPSAMPLING = 4


def outputs(masks: np.ndarray, scores: list[float] | None = None, labels: list[int] | None = None) -> dict:
    """A core's answer."""
    count = len(masks)
    return {
        SCORES: np.array([scores or np.linspace(0.9, 0.6, count)], np.float32),
        LABELS: np.array([labels or [0] * count], np.int32),
        MASKS: masks[None].astype(np.float32),
    }


def blobs(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """Smooth probabilities, float32 [count, height, width]."""
    noise = np.random.default_rng(seed).normal(size=(count, height, width))
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in noise])
    return (0.5 + smooth).clip(0, 1).astype(np.float32)


def whole(mask: np.ndarray, size: tuple[int, int], resized: tuple[int, int]) -> np.ndarray:
    """What the program does with a mask, for the whole image."""
    enlarged = cv2.resize(mask, (mask.shape[1] * UPSAMPLING, mask.shape[0] * UPSAMPLING))
    return cv2.resize(enlarged[: resized[0], : resized[1]], size[::-1])


def full_masks(instances: Instances) -> list[np.ndarray]:
    """Each instance's mask on the whole image."""
    painted = []
    for counts, (x, y, width, height) in zip(instances.masks, instances.mask_boxes.tolist(), strict=True):
        canvas = np.zeros(instances.size, np.uint8)
        canvas[y : y + height, x : x + width] = decode_crop(counts, height, width)
        painted.append(canvas)
    return painted


def detect(answer: dict, size: tuple[int, int], resized: tuple[int, int], wanted: Selection) -> Instances:
    scale_factor = np.array([resized[0] / size[0], resized[1] / size[1]], np.float32)
    return postprocess(SOLOv2(UPSAMPLING), answer, scale_factor, size, wanted)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """A low-resolution mask, the image's size, and the size of its part of the network's input."""
    height, width = draw(st.integers(3, 24)), draw(st.integers(3, 24))
    resized = (
        draw(st.integers(1, UPSAMPLING * height)),
        draw(st.integers(1, UPSAMPLING * width)),
    )
    size = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    return blobs(draw(st.integers(0, 999)), 1, height, width)[0], size, resized


@settings(deadline=None, max_examples=examples(200))
@given(geometries())
def test_a_mask_is_painted_as_two_resizings_of_the_whole(case: tuple) -> None:
    mask, size, resized = case
    values = whole(mask, size, resized)
    instances = detect(outputs(mask[None]), size, resized, Selection(0.5))
    painted = full_masks(instances)[0] if instances.masks else np.zeros(size, np.uint8)
    clear = np.abs(values - 0.5) > 1e-5
    np.testing.assert_array_equal(painted[clear], (values > 0.5)[clear])


@settings(deadline=None)
@given(geometries())
def test_a_box_is_the_extent_of_its_mask(case: tuple) -> None:
    mask, size, resized = case
    instances = detect(outputs(mask[None]), size, resized, Selection(0.5))
    for box, crop, counts in zip(instances.boxes, instances.mask_boxes, instances.masks, strict=True):
        x, y, width, height = crop.tolist()
        np.testing.assert_array_equal(box, [x, y, x + width, y + height])
        pixels = decode_crop(counts, height, width)
        assert all(side.any() for side in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


def test_an_input_taller_than_the_enlarged_mask_is_stretched_from_what_is_there() -> None:
    mask = blobs(3, 1, 14, 20)[0]
    size, resized = (160, 107), (80, 53)
    values = whole(mask, size, resized)
    instances = detect(outputs(mask[None]), size, resized, Selection(0.5))
    assert values.max() > 0.5
    np.testing.assert_array_equal(full_masks(instances)[0], values > 0.5)


def test_masks_have_the_size_of_a_photo_whose_two_scale_factors_differ() -> None:
    size, resized = (1500, 2000), (800, 1067)
    mask = np.ones((200, 272), np.float32)
    instances = detect(outputs(mask[None]), size, resized, Selection(0.5))
    np.testing.assert_array_equal(instances.boxes, [[0, 0, 2000, 1500]])


def test_the_threshold_itself_is_kept_and_what_is_below_is_not() -> None:
    masks = np.ones((3, 8, 8), np.float32)
    answer = outputs(masks, scores=[0.6, 0.5, 0.49], labels=[1, 2, 3])
    instances = detect(answer, (32, 32), (32, 32), Selection(0.5))
    assert instances.labels.tolist() == [1, 2]
    assert instances.scores.dtype == np.float32


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_the_score_zero_is_no_instance_at_any_threshold(threshold: float) -> None:
    answer = outputs(np.ones((2, 8, 8), np.float32), scores=[0.1, 0.0])
    assert len(detect(answer, (32, 32), (32, 32), Selection(threshold)).scores) == 1


def test_only_the_wanted_classes_are_painted() -> None:
    answer = outputs(np.ones((3, 8, 8), np.float32), labels=[4, 5, 4])
    assert detect(answer, (32, 32), (32, 32), Selection(0.5, frozenset({5}))).labels.tolist() == [5]


def test_a_mask_without_a_pixel_is_dropped_with_its_instance() -> None:
    masks = np.zeros((3, 8, 8), np.float32)
    masks[0, 2:4, 2:4] = masks[2, 5:7, 1:3] = 0.9
    instances = detect(outputs(masks, labels=[7, 8, 9]), (32, 32), (32, 32), Selection(0.5))
    assert instances.labels.tolist() == [7, 9]
    assert len(instances.masks) == len(instances.boxes) == len(instances.mask_boxes) == 2


def test_a_mask_in_the_padding_is_dropped() -> None:
    masks = np.zeros((1, 8, 8), np.float32)
    masks[0, :, 6:] = 0.9
    assert not detect(outputs(masks), (32, 16), (32, 16), Selection(0.5)).masks


def test_nothing_found_is_an_answer_of_no_rows() -> None:
    instances = detect(outputs(np.ones((1, 8, 8), np.float32), scores=[0.2]), (32, 32), (32, 32), Selection(0.5))
    assert instances.boxes.shape == instances.mask_boxes.shape == (0, 4)
    assert instances.boxes.dtype == np.float32
    assert instances.scores.shape == instances.labels.shape == (0,)


def test_it_is_a_family_by_its_name() -> None:
    assert FAMILIES["solov2"] is SOLOv2
    assert load_family("solov2", {"upsampling": 4, "mask_threshold": 0.5}) == SOLOv2(4, 0.5)
