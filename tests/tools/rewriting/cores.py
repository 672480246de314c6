"""Small cores, written, rewritten and run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from maskserve_tools.converting.onnx_graph.converted import Converted
from maskserve_tools.converting.onnx_graph.shapes import Shapes, partial_shapes
from maskserve_tools.converting.onnx_graph.writing import Graph

onnx = pytest.importorskip("onnx", reason="rewriting needs the convert extra", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

Rewriting = Callable[[Converted, Shapes, Graph], int]
Feeds = Mapping[str, np.ndarray]


def write(path: Path, graph: Graph, inputs: Mapping[str, Sequence[int | str]], outputs: Mapping[str, str]) -> Path:
    """Write a graph whose inputs have the shapes given; `outputs` are the names of results by what they are called."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    for name, tensor in outputs.items():
        graph.call(tensor, name)
    made = helper.make_graph(
        graph.nodes,
        "core",
        [helper.make_tensor_value_info(name, float32, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, float32, None) for name in outputs],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), str(path))
    return path


def rewritten(path: Path, rewriting: Rewriting) -> tuple[int, Path]:
    """How many places are found, and the file with what was put there."""
    model, graph = Converted(path), Graph("rewritten")
    found = rewriting(model, partial_shapes(path), graph)
    target = path.with_name("rewritten.onnx")
    model.save(graph, target)
    return found, target


def answers(path: Path, feeds: Feeds) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of the feeds, as the file says it: nothing is fused or reordered."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


def kinds(path: Path) -> Counter[str]:
    """How many nodes of each kind there are."""
    return Counter(node.op_type for node in onnx.load(path).graph.node)
