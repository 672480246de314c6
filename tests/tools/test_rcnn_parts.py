"""Taking R-CNN graphs apart and putting them together, on graphs made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve_tools.converting.onnx_graph.converted import Converted, constants_of, ordered
from maskserve_tools.converting.onnx_graph.writing import Graph
from maskserve_tools.converting.rcnn.hoisting import Hoisting
from maskserve_tools.converting.rcnn.pooling import pool
from maskserve_tools.converting.rcnn.structure import Pooling

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


def _session(nodes: list[Any], constants: list[Any], inputs: dict[str, Any], outputs: list[str]) -> Any:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _head(path: Path, *, bias: bool = False) -> Converted:
    """A head as C4's begins: a convolution and, with a stride, another beside it; both normalised."""
    generator = np.random.default_rng(0)
    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    nodes, constants = [], []
    for name, stride in (("main", 1), ("beside", 2)):
        weights = generator.normal(size=(4, CHANNELS, 1, 1)).astype(np.float32)
        scale, shift, mean, variance = generator.uniform(0.5, 2, (4, 4)).astype(np.float32)
        values = {"w": weights, "scale": scale, "shift": shift, "mean": mean, "variance": variance, "bias": shift}
        constants += [tensor(value, f"{name}.{key}") for key, value in values.items()]
        inputs = ["pooled", f"{name}.w", *([f"{name}.bias"] if bias else [])]
        sides = {"kernel_shape": [1, 1], "strides": [stride, stride], "pads": [0, 0, 0, 0], "group": 1}
        nodes.append(helper.make_node("Conv", inputs, [f"{name}.conv"], **sides))
        norm = [f"{name}.conv", *(f"{name}.{key}" for key in ("scale", "shift", "mean", "variance"))]
        nodes.append(helper.make_node("BatchNormalization", norm, [f"{name}.norm"], epsilon=1e-3))
        nodes.append(helper.make_node("Relu", [f"{name}.norm"], [name]))
    pooled = helper.make_tensor_value_info("pooled", onnx.TensorProto.FLOAT, ["N", CHANNELS, 14, 14])
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("main", "beside")]
    graph = helper.make_graph(nodes, "head", [pooled], results, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return Converted(path)


def _run(converted: Converted, graph: Graph, boxes: np.ndarray) -> list[np.ndarray]:
    nodes = [*converted.nodes, *graph.nodes]
    constants = [*constants_of(nodes, converted.constants), *graph.constants]
    names = {"feature", "boxes", *(tensor.name for tensor in constants)}
    inputs = {"feature": [1, CHANNELS, None, None], "boxes": [None, 4]}
    session = _session(ordered(nodes, names), constants, inputs, ["main", "beside"])
    feature = np.random.default_rng(1).normal(size=(1, CHANNELS, 24, 30)).astype(np.float32)
    return list(session.run(None, {"feature": feature, "boxes": boxes}))


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
    answers = []
    for moved in (False, True):
        converted, graph = _head(tmp_path / "head.onnx"), Graph("joint")
        if moved:
            hoisting = Hoisting(converted, graph)
            assert hoisting.applies("pooled")
            hoisting.fill(POOLING, "feature", boxes="boxes", hole="pooled")
            assert not converted.readers("pooled")
        else:
            graph.call(pool(graph, POOLING, ["feature"], "boxes"), "pooled")
        answers.append(_run(converted, graph, boxes))
    for before, after in zip(*answers, strict=True):
        assert before.shape == after.shape
        np.testing.assert_allclose(after, before, atol=1e-4)


def test_a_convolution_with_a_bias_stays_where_it_is(tmp_path: Path) -> None:
    assert not Hoisting(_head(tmp_path / "head.onnx", bias=True), Graph("joint")).applies("pooled")


def test_constants_and_identities_are_tidied_away(tmp_path: Path) -> None:
    helper = onnx.helper
    constant = onnx.numpy_helper.from_array(np.float32([2]))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=constant),
        helper.make_node("Identity", ["two"], ["again"]),
        helper.make_node("Mul", ["x", "again"], ["doubled"]),
        helper.make_node("Identity", ["doubled"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy")
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y])), str(path))
    converted = Converted(path)
    assert [node.op_type for node in converted.nodes] == ["Mul", "Identity"]
    session = _session(converted.nodes, constants_of(converted.nodes, converted.constants), {"x": [None]}, ["y"])
    assert session.run(None, {"x": np.float32([3, 4])})[0].tolist() == [6, 8]


def test_nodes_are_put_in_an_order_and_a_circle_is_found() -> None:
    make = onnx.helper.make_node
    first, second = make("Relu", ["x"], ["a"]), make("Add", ["a", "x"], ["b"])
    assert [node.output[0] for node in ordered([second, first], {"x"})] == ["a", "b"]
    with pytest.raises(ValueError, match="wait for each other"):
        ordered([make("Relu", ["b"], ["a"]), make("Relu", ["a"], ["b"])], {"x"})
