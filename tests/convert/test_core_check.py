"""How often a fresh core runs before it is written: a slow one once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskserve_convert import core_check
from maskserve_server.spec import CoreSpec, ModelSpec

_SIDE = 32


class Clock:
    """Time that passes only while the core runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class SlowEngine:
    """Finds one instance; the first run takes longer than those after it."""

    def __init__(self, clock: Clock, first: float, later: float, filling: float = 5) -> None:
        self._clock, self._seconds, self._filling = clock, [first, later, later, later], filling
        self.runs = 0

    def __call__(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        self._clock.now += self._seconds[self.runs]
        self.runs += 1
        return {
            "detections": np.array([[[1, 0.7, 0, 0, _SIDE, _SIDE]]], np.float32),
            "mask_logits": np.full((1, 1, 8, 8), self._filling, np.float32),
        }

    def twin(self) -> SlowEngine:
        return self


def _spec() -> ModelSpec:
    preprocess = (
        {"type": "Resize", "target_size": [_SIDE, _SIDE], "keep_ratio": False, "interp": 1},
        {"type": "NormalizeImage", "norm_type": "none", "is_scale": True, "mean": [0, 0, 0], "std": [1, 1, 1]},
        {"type": "Permute"},
    )
    core = CoreSpec("onnxruntime", "core.onnx", ("image",), ("detections", "mask_logits"), (3, _SIDE, _SIDE))
    return ModelSpec("slow", "mask_rt_detr", {}, preprocess, ("person", "car"), 0.5, core, classes=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(core_check, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("first", "later", "runs", "took"),
    [(2.0, 1.0, 1, 2.0), (0.3, 0.2, 1, 0.3), (0.2, 0.1, 2, 0.1), (0.1, 0.05, 3, 0.05)],
)
def test_a_core_runs_until_its_time_is_known_well_enough(
    clock: Clock, first: float, later: float, runs: int, took: float
) -> None:
    engine = SlowEngine(clock, first, later)
    assert core_check.answer_once(_spec(), engine) == pytest.approx(took)
    assert engine.runs == runs


def test_a_core_that_runs_once_is_checked(clock: Clock) -> None:
    with pytest.raises(SystemExit, match="mask_logits holds values that are not finite"):
        core_check.answer_once(_spec(), SlowEngine(clock, 2, 1, float("nan")))


def test_the_table_of_conversion_times_measures_what_there_is() -> None:
    """A function that was renamed would end the benchmark."""
    from benchmarks.conversion_times import _FUNCTIONS, PARTS

    assert {"other", "all", *_FUNCTIONS} == set(PARTS)
    missing = [(part, name) for part, found in _FUNCTIONS.items() for owner, name in found if not hasattr(owner, name)]
    assert missing == []
