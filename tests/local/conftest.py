"""A model whose core is a few lines of Python, so that what is around it can be tested alone."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskserve_local.sources import Source
from maskserve_server.spec import CoreSpec, ModelSpec

SIDE = 32


class FakeEngine:
    """Finds one instance that fills the image; its score is that of the first pixel's blue."""

    def __init__(self) -> None:
        self.runs: list[float] = []
        self.twins = 1
        self.hold = Event()
        self.hold.set()
        self.started = Event()
        self.error: Exception | None = None

    def __call__(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        blue = float(feeds["image"][0, 2, 0, 0])
        self.started.set()
        assert self.hold.wait(30)
        if self.error:
            raise self.error
        self.runs.append(blue)
        return {
            "detections": np.array([[[1, blue, 0, 0, SIDE, SIDE]]], np.float32),
            "mask_logits": np.full((1, 1, 8, 8), 5, np.float32),
        }

    def twin(self) -> FakeEngine:
        self.twins += 1
        return self


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def fake_spec() -> ModelSpec:
    """Return the description of a model of `FakeEngine`."""
    preprocess = (
        {"type": "Resize", "target_size": [SIDE, SIDE], "keep_ratio": False, "interp": 1},
        {"type": "NormalizeImage", "norm_type": "none", "is_scale": True, "mean": [0, 0, 0], "std": [1, 1, 1]},
        {"type": "Permute"},
    )
    core = CoreSpec("onnxruntime", "core.onnx", ("image",), ("detections", "mask_logits"), (3, SIDE, SIDE))
    return ModelSpec("fake", "mask_rt_detr", {}, preprocess, ("person", "car"), 0.5, core, classes=2)


@pytest.fixture
def spec() -> ModelSpec:
    return fake_spec()


@pytest.fixture
def source(spec: ModelSpec, engine: FakeEngine) -> Source:
    return Source(spec, lambda threads, streams=1: engine)
