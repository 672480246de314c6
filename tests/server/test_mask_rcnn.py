"""Mask R-CNN's painting, with the pasting of the Paddle program as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from maskserve.masks import decode_crop
from maskserve_server.families import Selection, load_family
from maskserve_server.families.mask_rcnn import DETECTIONS, MASKS, MaskRCNN
from maskserve_server.postprocess import Instances, postprocess

SIZE = (60, 80)
UNIT = np.ones(2, np.float32)


def answer(boxes: np.ndarray, masks: np.ndarray, labels: list[int] | None = None) -> dict[str, np.ndarray]:
    """A core's answer with falling scores."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    columns = [np.array(labels or [0] * count, np.float32), np.linspace(0.9, 0.6, count, dtype=np.float32)]
    rows = np.concatenate([np.stack(columns, axis=1), boxes], axis=1)
    return {DETECTIONS: rows.astype(np.float32), MASKS: masks.astype(np.float32)}


def pasted(mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The probabilities on the whole image, sampled bilinearly with zeros outside the mask; in double precision."""
    height, width = size
    cells = mask.shape[0]
    canvas = np.zeros((cells + 2, cells + 2))
    canvas[1:-1, 1:-1] = mask
    y = (np.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * cells + 0.5
    x = (np.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * cells + 0.5
    y, x = np.clip(y, 0, cells + 1), np.clip(x, 0, cells + 1)
    top, left = np.minimum(y.astype(int), cells), np.minimum(x.astype(int), cells)
    down, right = (y - top)[:, None], (x - left)[None]
    rows, columns = top[:, None], left[None]
    upper = canvas[rows, columns] * (1 - right) + canvas[rows, columns + 1] * right
    lower = canvas[rows + 1, columns] * (1 - right) + canvas[rows + 1, columns + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def full_masks(instances: Instances) -> list[np.ndarray]:
    """Each instance's mask on the whole image."""
    painted = []
    for counts, (x, y, width, height) in zip(instances.masks, instances.mask_boxes.tolist(), strict=True):
        canvas = np.zeros(instances.size, np.uint8)
        canvas[y : y + height, x : x + width] = decode_crop(counts, height, width)
        painted.append(canvas)
    return painted


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    height, width = SIZE
    side = st.floats(0.5, 40, width=32)
    x, y = draw(st.floats(0, width - 1, width=32)), draw(st.floats(0, height - 1, width=32))
    return np.array([x, y, min(x + draw(side), width), min(y + draw(side), height)], np.float32)


@settings(deadline=None, max_examples=examples(200))
@given(boxes(), st.sampled_from([14, 28]), st.integers(0, 999))
def test_a_mask_is_painted_as_the_program_pastes_it(box: np.ndarray, cells: int, seed: int) -> None:
    mask = np.random.default_rng(seed).uniform(0, 1, (cells, cells)).astype(np.float32)
    values = pasted(mask, box, SIZE)
    instances = postprocess(MaskRCNN(), answer(box, mask[None]), UNIT, SIZE, Selection(0.5))
    for painted, (x, y, width, height) in zip(full_masks(instances), instances.mask_boxes.tolist(), strict=True):
        inside = np.zeros(SIZE, bool)
        inside[y : y + height, x : x + width] = True
        clear = inside & (np.abs(values - 0.5) > 1e-4)
        np.testing.assert_array_equal(painted[clear], (values >= 0.5)[clear])


@pytest.mark.filterwarnings("ignore")  # Paddle's own, while it is imported
def test_the_oracle_is_grid_sample() -> None:
    paddle = pytest.importorskip("paddle", reason="the oracle's oracle is Paddle's operator", exc_type=ImportError)
    mask = np.random.default_rng(1).uniform(0, 1, (28, 28)).astype(np.float32)
    box = np.array([10.25, 5.5, 47.75, 51.125], np.float32)
    y, x = (np.arange(side, dtype=np.float32) + 0.5 for side in SIZE)
    y, x = ((z - box[i]) / (box[i + 2] - box[i]) * 2 - 1 for z, i in ((y, 1), (x, 0)))
    grid = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
    sampled = paddle.nn.functional.grid_sample(
        paddle.to_tensor(mask[None, None]), paddle.to_tensor(grid[None]), align_corners=False
    )
    np.testing.assert_allclose(sampled.numpy()[0, 0], pasted(mask, box, SIZE), atol=1e-5)


def test_a_probability_equal_to_the_threshold_belongs_to_the_instance() -> None:
    masks = np.full((1, 4, 4), 0.5)
    outputs = answer(np.array([8, 8, 12, 12]), masks)
    painted = full_masks(postprocess(MaskRCNN(), outputs, UNIT, SIZE, Selection(0.5)))
    assert painted[0].sum() == 16
    stricter = postprocess(load_family("mask_rcnn", {"mask_threshold": 0.6}), outputs, UNIT, SIZE, Selection(0.5))
    assert full_masks(stricter)[0].sum() == 0


def test_a_row_that_is_no_instance_goes_with_its_mask() -> None:
    masks = np.stack([np.full((4, 4), 0.0), np.full((4, 4), 1.0), np.full((4, 4), 0.0)])
    outputs = answer(np.array([[5, 5, 5, 9], [20, 20, 24, 24], [0, 0, 0, 0]]), masks, [-1, 3, -1])
    instances = postprocess(MaskRCNN(), outputs, UNIT, SIZE, Selection(0.5))
    assert instances.labels.tolist() == [3]
    assert full_masks(instances)[0].sum() == 16


def test_rows_keep_their_order_and_the_request_chooses_among_them() -> None:
    outputs = answer(np.array([[0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9]]), np.ones((3, 4, 4)), [5, 2, 5])
    every = postprocess(MaskRCNN(), outputs, UNIT, SIZE, Selection(0.5))
    assert every.labels.tolist() == [5, 2, 5]
    some = postprocess(MaskRCNN(), outputs, UNIT, SIZE, Selection(0.7, frozenset({5})))
    assert some.boxes[:, 0].tolist() == [0]
