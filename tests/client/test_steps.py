"""The list of models leaves out the steps of a model, and nothing else."""

from __future__ import annotations

import pytest

from maskserve import contract
from maskserve.transport.base import ServedModel
from maskserve.transport.errors import entry_points


@pytest.mark.parametrize(
    ("served", "models"),
    [
        (["a", "a.preprocess", "a.core", "a.postprocess"], ["a"]),
        (["a", "a.b"], ["a", "a.b"]),
        (["a", "a.b", "a.b.core", "a.b.preprocess"], ["a", "a.b"]),
        (["v1", "v1.2", "v1.2.core"], ["v1", "v1.2"]),
        (["core", "a.core"], ["a.core", "core"]),
        ([".core", "core"], [".core", "core"]),
    ],
)
def test_models_without_their_steps(served: list[str], models: list[str]) -> None:
    assert entry_points([ServedModel(name, "READY") for name in served]) == models


@pytest.mark.parametrize("step", contract.STEPS)
@pytest.mark.parametrize("model", ["a", "a.b", "a.core"])
def test_a_step_is_found_again(model: str, step: str) -> None:
    assert contract.model_of(contract.step_name(model, step)) == model
    assert contract.model_of(f"{model}.other") is None
