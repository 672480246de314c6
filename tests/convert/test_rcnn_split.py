"""Taking R-CNN graphs apart and putting them together, on graphs made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve_convert.families.rcnn.pooling import pool
from maskserve_convert.families.rcnn.structure import Pooling
from maskserve_convert.onnx.builder import GraphBuilder
from maskserve_convert.onnx.model import load, save, tidy
from maskserve_convert.onnx.nodes import producer, reduced_axes
from maskserve_convert.onnx.passes.hoist_pointwise import hoist_pointwise
from maskserve_convert.onnx.report import NearMisses
from tests.convert.graphs import Graph, ir

onnx = pytest.importorskip("onnx", reason="joining needs the convert extra", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

CHANNELS, ROWS = 6, 11
POOLING = Pooling(
    boxes=0,
    features=(0,),
    scales=(0.25,),
    size=(14, 14),
    sampling_ratio=0,
    aligned=False,
    assignment=None,
    pooled=0,
)


def _pooled_head(path: Path, *, bias: bool = False) -> Any:
    """A head as C4's begins: a convolution and, with a stride, another beside it; both normalised."""
    generator, graph = np.random.default_rng(0), Graph("head")
    pooled = pool(graph, POOLING, [graph.input("feature")], graph.input("boxes"))
    results = {}
    for name, stride in (("main", 1), ("beside", 2)):
        weights = generator.normal(size=(4, CHANNELS, 1, 1)).astype(np.float32)
        norm = generator.uniform(0.5, 2, (4, 4)).astype(np.float32)
        sides = {"kernel_shape": [1, 1], "strides": [stride, stride], "pads": [0, 0, 0, 0], "group": 1}
        plain = graph.op("Conv", pooled, weights, *(norm[1:2] if bias else ()), **sides)
        results[name] = graph.op("Relu", graph.op("BatchNormalization", plain, *norm, epsilon=1e-3))
    graph.write(path, {"feature": [1, CHANNELS, None, None], "boxes": [None, 4]}, results)
    return load(path)


def _run(model: Any, path: Path, boxes: np.ndarray) -> list[np.ndarray]:
    save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feature = np.random.default_rng(1).normal(size=(1, CHANNELS, 24, 30)).astype(np.float32)
    return list(session.run(["main", "beside"], {"feature": feature, "boxes": boxes}))


def _hoisted(model: Any) -> tuple[int, tuple[str, ...]]:
    misses = NearMisses()
    found = hoist_pointwise(GraphBuilder(model.graph, "hoisted"), misses)
    tidy(model)
    return found, misses.reasons


def test_moving_convolutions_in_front_of_the_pooling_changes_nothing(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    corners = generator.uniform(0, 60, (ROWS, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(1, 36, (ROWS, 2))], axis=1).astype(np.float32)
    boxes[0] = [0, 0, 120, 96]  # the whole map
    boxes[1:4] = (
        [119.5, 20, 120, 60],
        [20, 95, 60, 96],
        [119.9, 95.9, 120, 96],
    )  # slivers: half of their samples are out
    model = _pooled_head(tmp_path / "head.onnx")
    answers = [_run(model, tmp_path / "before.onnx", boxes)]
    assert _hoisted(model) == (2, ())
    assert {producer(node.inputs[0]) for node in model.graph if node.op_type == "Conv"} == {None}
    answers.append(_run(model, tmp_path / "after.onnx", boxes))
    for before, after in zip(*answers, strict=True):
        assert before.shape == after.shape
        np.testing.assert_allclose(after, before, atol=1e-4)


def test_a_convolution_with_a_bias_stays_where_it_is(tmp_path: Path) -> None:
    found, (reason,) = _hoisted(_pooled_head(tmp_path / "head.onnx", bias=True))
    assert found == 0
    assert "has a bias" in reason


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("Conv", {"kernel_shape": [3, 3]}, "a 3x3 convolution reads the pooled features"),
        ("Conv", {"pads": [1, 1, 1, 1]}, "pads them, or has groups"),
        ("RoiAlign", {"mode": "max"}, "the greatest of its samples"),
    ],
)
def test_what_keeps_a_convolution_behind_the_pooling_is_said(
    kind: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    model = _pooled_head(tmp_path / "head.onnx")
    node = next(node for node in model.graph if node.op_type == kind)
    node.attributes.update(ir.node(kind, [], change).attributes)
    found, (reason,) = _hoisted(model)
    assert found == 0
    assert words in reason


def test_constants_and_identities_are_tidied_away(tmp_path: Path) -> None:
    helper = onnx.helper
    constant = onnx.numpy_helper.from_array(np.array([2], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=constant),
        helper.make_node("Identity", ["two"], ["again"]),
        helper.make_node("Mul", ["x", "again"], ["doubled"]),
        helper.make_node("Identity", ["doubled"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy")
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y])), str(path))
    model = load(path)
    assert [node.op_type for node in model.graph] == ["Mul", "Identity"]
    assert [value.name for value in model.graph.initializers.values()] == ["two"]
    save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([3, 4], np.float32)})[0].tolist() == [6, 8]


def test_nodes_are_put_in_an_order_and_a_circle_is_found() -> None:
    graph = Graph("order")
    first, later = graph.op("Relu", "x"), graph.op("Neg", "x")
    second = graph.op("Add", first, "x")
    model = ir.Model(graph.graph, ir_version=8)
    graph.graph.outputs.extend([second, later])
    graph.replace(first, graph.op("Abs", "x"))  # at the end, and read in the middle
    tidy(model)
    assert [node.op_type for node in graph.graph if node.op_type != "Neg"] == ["Abs", "Add"]
    second.producer().replace_input_with(0, graph.op("Relu", second))
    with pytest.raises(ValueError, match="cycle"):
        tidy(model)


def test_a_replaced_output_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "head.onnx"
    graph = Graph("head")
    graph.write(path, {"x": [2]}, {"y": graph.op("Relu", "x"), "z": graph.op("Neg", "x")})
    model = load(path)
    builder = GraphBuilder(model.graph, "new")
    y, z = (output for output in model.graph.outputs)
    builder.replace(y, builder.op("Abs", model.graph.inputs[0]))
    builder.replace(z, model.graph.inputs[0])  # an output that is an input stays another tensor
    tidy(model)
    save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["y", "z"]
    assert [array.tolist() for array in session.run(None, {"x": np.array([3, -4], np.float32)})] == [[3, 4], [3, -4]]


@pytest.mark.parametrize(("opset", "operands"), [(17, 1), (18, 2)])
def test_nodes_are_written_for_the_operator_set_of_the_graph(opset: int, operands: int) -> None:
    """An older one's reductions are refused by engines, or worse, read otherwise."""
    graph = Graph("reduced", opset)
    node = graph.reduce("ReduceMax", graph.input("x"), 1, keepdims=True).producer()
    assert node is not None
    assert len(node.inputs) == operands
    assert reduced_axes(node) == [1]
