"""PP-YOLOE_seg's masks: what is left out of the prototypes is not missed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve_server.families.pp_yoloe_seg import PPYOLOESeg

_corner = st.tuples(st.floats(-20, 220, width=32), st.floats(-20, 220, width=32))


def _family(height: int, width: int) -> PPYOLOESeg:
    return PPYOLOESeg((height, width), 0.01, 0.6, 1000, 300, -1, normalized=True)


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

    mask = _family(height, width)._mask(weights, prototypes, box)
    assert mask.flags.f_contiguous
    np.testing.assert_allclose(mask, np.where(inside, whole, 0), atol=1e-5)


@pytest.mark.parametrize("threshold", [0.01, 0.5])
def test_survivors_are_those_of_a_search_of_every_score(threshold: float) -> None:
    from maskserve_server.families import Selection

    random = np.random.default_rng(3)
    scores = random.random((5, 40), np.float32) ** 4
    boxes = np.concatenate([np.arange(80).reshape(40, 2) * 50.0] * 2, axis=1).astype(np.float32)
    boxes[:, 2:] += 10  # far apart: nothing is suppressed
    labels, anchors = _family(160, 160)._survivors(boxes, scores, Selection(threshold))
    assert sorted(zip(labels.tolist(), anchors.tolist(), strict=True)) == sorted(
        (c, a) for c in range(5) for a in range(40) if scores[c, a] > threshold
    )
