"""Running the pieces of an R-CNN graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from maskserve_tools.converting.onnx_graph.writing import Graph

onnx = pytest.importorskip("onnx", reason="joining needs the convert extra", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

Tensors = Mapping[str, np.ndarray]


def run(add: Callable[[Graph], tuple[str, ...]], inputs: Tensors) -> list[np.ndarray]:
    """Build a graph and run it."""
    graph = Graph("test")
    results = add(graph)
    helper, types = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "test",
            [helper.make_tensor_value_info(name, types(array.dtype), array.shape) for name, array in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in results],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(list(results), dict(inputs)))


def random_boxes(generator: np.random.Generator, count: int, largest: float) -> np.ndarray:
    corners = generator.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + generator.uniform(0.5, largest, (count, 2))], axis=1).astype(np.float32)
