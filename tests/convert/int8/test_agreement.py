"""What int8 costs, in instances found again, and when a model does not survive it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskserve import contract
from maskserve_convert.int8.agreement import Columns, match
from maskserve_convert.int8.quantising import Agreement


def columns(*rows: tuple[int, float, tuple[float, float, float, float]]) -> Columns:
    return {
        contract.LABELS: np.array([row[0] for row in rows], np.int32),
        contract.SCORES: np.array([row[1] for row in rows], np.float32),
        contract.BOXES: np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
    }


def test_instances_are_paired_once_each() -> None:
    expected = columns((0, 0.9, (0, 0, 10, 10)), (0, 0.8, (0, 0, 10, 11)), (1, 0.7, (50, 50, 60, 60)))
    found = columns((0, 0.7, (0, 0, 10, 11)), (1, 0.6, (50, 50, 60, 58)), (1, 0.6, (0, 0, 10, 10)))
    assert match(expected, found) == pytest.approx([0.1, 0.1])


def test_a_box_that_moved_far_is_another_instance() -> None:
    assert match(columns((0, 0.9, (0, 0, 10, 10))), columns((0, 0.9, (5, 0, 15, 10)))) == []
    assert match(columns(), columns((0, 0.9, (5, 0, 15, 10)))) == match(columns(), columns()) == []


def test_what_does_not_survive_is_said() -> None:
    good = Agreement(16, 0.5, 28, 28, 1, 0.005)
    assert not good.warning and "int8 finds 28 again and 1 others" in good.words
    assert "does not survive int8: of 484 instances" in replace(good, expected=484, again=37).warning
    assert "nothing says what int8 costs" in replace(good, expected=0, again=0).warning
