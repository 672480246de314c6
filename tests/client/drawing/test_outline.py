"""The line around a mask: thin ones are drawn by widening the mask, and are those that distances would give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskserve.drawing import outline

COLOUR = (10, 200, 90)


def drawn(mask: NDArray[np.uint8], line: float) -> NDArray[np.uint8]:
    region = np.random.default_rng(3).integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
    plain = np.full_like(region, COLOUR)
    outline.draw_line(region, mask, np.s_[:, :], plain, line)
    return region


@given(seed=st.integers(0, 99), line=st.sampled_from([1.0, 1.12, 1.4, 1.75, 2.0, 2.1969, 2.5, 3.0, 4.2, 7.0]))
def test_a_line_is_the_same_by_widening_and_by_distances(seed: int, line: float) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random((60, 70)) > rng.choice([0.1, 0.5, 0.9, 0.999])).astype(np.uint8)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(outline, "_MOST_RINGS", 99)
        widened = drawn(mask, line)
        changed.setattr(outline, "_MOST_RINGS", -1)
        far = drawn(mask, line)
    assert np.abs(widened.astype(int) - far).max() <= 1  # halves are rounded in two ways
    paper = np.random.default_rng(3).integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) if mask.any() else np.full(mask.shape, np.inf)
    assert (widened[(away == 0) | (away >= np.float32(line + 1))] == paper[(away == 0) | (away >= line + 1)]).all()
    assert (widened[(away > 0) & (away <= np.float32(line))] == COLOUR).all()


def test_lines_of_usual_images_are_drawn_by_widening(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("distances were computed")

    monkeypatch.setattr(outline, "_draw_by_distance", refuse)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 1
    assert (drawn(mask, 1.75)[9, 10] == COLOUR).all()
