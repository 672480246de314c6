"""PP-YOLOE_seg's masks: what is left out of the prototypes is not missed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.painters import paint_sum

from maskserve.masks import decode_crop
from maskserve_server.families import Selection
from maskserve_server.families.pp_yoloe_seg import PPYOLOESeg
from maskserve_server.painting.runs import encode_runs

_corner = st.tuples(st.floats(-20, 220, width=32), st.floats(-20, 220, width=32))


def _family(height: int, width: int) -> PPYOLOESeg:
    return PPYOLOESeg((height, width), 0.01, 0.6, 1000, 300, -1, normalized=True)


@settings(deadline=None)
@given(_corner, _corner, st.sampled_from([(160, 160), (96, 192), (100, 130)]), st.integers(0, 99))
def test_a_mask_is_the_enlarged_sum_of_the_prototypes_inside_its_box(
    low: tuple[float, float], high: tuple[float, float], size: tuple[int, int], seed: int
) -> None:
    height, width = size
    random = np.random.default_rng(seed)
    prototypes = random.normal(size=(8, height // 4, width // 4)).astype(np.float32)
    weights = random.normal(size=8).astype(np.float32)
    box = np.array([*low, *high], np.float32)

    logits = np.einsum("k,khw->hw", weights, prototypes)
    whole = cv2.resize(1 / (1 + np.exp(-logits)), (width, height), interpolation=cv2.INTER_LINEAR)
    x, y = np.arange(width), np.arange(height)[:, None]
    inside = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])

    outputs = {
        "boxes": box[None, None],
        "scores": np.full((1, 1, 1), 0.9, np.float32),
        "coefficients": weights[None, :, None],
        "prototypes": prototypes[None],
    }
    detections = _family(height, width).detect(outputs, np.ones(2, np.float32), Selection(0.5))
    window = (0, 0, width, height)
    (runs,) = detections.paint([0], size, [window])
    mask = decode_crop(encode_runs([runs], [window])[0], height, width)
    wanted = np.where(inside, whole, 0)
    clear = np.abs(wanted - 0.5) > 1e-5
    np.testing.assert_array_equal(mask[clear], (wanted > 0.5)[clear])
    crop = np.clip(np.ceil(box), 0, [width, height, width, height]).astype(int).tolist()
    painted = paint_sum(weights, prototypes, tuple(crop), size, size=size, window=window, threshold=0.5)
    np.testing.assert_array_equal(mask, painted)


@pytest.mark.parametrize("threshold", [0.01, 0.5])
def test_survivors_are_those_of_a_search_of_every_score(threshold: float) -> None:
    random = np.random.default_rng(3)
    scores = random.random((5, 40), np.float32) ** 4
    boxes = np.concatenate([np.arange(80).reshape(40, 2) * 50.0] * 2, axis=1).astype(np.float32)
    boxes[:, 2:] += 10  # far apart: nothing is suppressed
    labels, anchors = _family(160, 160)._survivors(boxes, scores, Selection(threshold))
    assert sorted(zip(labels.tolist(), anchors.tolist(), strict=True)) == sorted(
        (c, a) for c in range(5) for a in range(40) if scores[c, a] > threshold
    )
