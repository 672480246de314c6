"""Run the subgraphs of an R-CNN graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.convert.graphs import Graph

onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

Tensors = Mapping[str, np.ndarray]


# The operator sets that Paddle2ONNX may raise a model to, each with another way to write some operator.
OPSETS = (17, 18, 19, 20)


def run(add: Callable[[Graph], tuple[Any, ...]], inputs: Tensors) -> list[np.ndarray]:
    """Build a graph and run it, in each operator set; all of them have to give the same."""
    first, *others = (_run(add, inputs, opset) for opset in OPSETS)
    for other in others:
        for expected, found in zip(first, other, strict=True):
            np.testing.assert_array_equal(found, expected)
    return first


def _run(add: Callable[[Graph], tuple[Any, ...]], inputs: Tensors, opset: int) -> list[np.ndarray]:
    graph = Graph("test", opset)
    results = {f"result {number}": value for number, value in enumerate(add(graph))}
    model = graph.proto({name: (array.dtype, array.shape) for name, array in inputs.items()}, results)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(list(results), dict(inputs)))


def random_boxes(generator: np.random.Generator, count: int, largest: float) -> np.ndarray:
    corners = generator.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + generator.uniform(0.5, largest, (count, 2))], axis=1).astype(np.float32)
