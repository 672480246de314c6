"""A head that convolves every box's features, as C4's, before and after it is rewritten to be faster and smaller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskserve_tools.converting.blueprint import Blueprint
from maskserve_tools.converting.onnx_graph.converted import Converted, attribute
from maskserve_tools.converting.onnx_graph.writing import Graph, i64
from maskserve_tools.converting.paddle_folder import PaddleFolder
from maskserve_tools.converting.program.pir import Program
from maskserve_tools.converting.rcnn.build import build
from maskserve_tools.converting.rcnn.filtering import filter_pooled_maps, of_a_line
from maskserve_tools.converting.rcnn.portions import run_in_portions

onnx = pytest.importorskip("onnx", reason="rewriting needs the convert extra", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

CHANNELS = 12
NUMBERS = arrays(np.float64, 7, elements=st.floats(-100, 100))


class Head:
    """Writes a residual block with a stride and one without behind the pooling of a fixed number of boxes."""

    def __init__(self, boxes: int) -> None:
        self._boxes, self._graph, self._random = boxes, Graph("head"), np.random.default_rng(0)

    def write(self, path: Path, *, watched: bool = False) -> Path:
        graph, model = self._graph, onnx.helper
        main = self._convolve(graph.op("Relu", self._pool()), 3, stride=2)
        beside = graph.op("Slice", self._pool(), i64(0, 0), i64(99, 99), i64(2, 3), i64(2, 2))
        first = graph.op("Relu", graph.op("Add", self._convolve(main, 1), beside))
        inner = self._convolve(self._convolve(first, 1), 3)
        second = graph.op("Relu", graph.op("Add", self._convolve(inner, 1), first))
        graph.call(graph.op("GlobalAveragePool", second), "average")
        results = {"average": [self._boxes, CHANNELS, 1, 1]}
        if watched:
            graph.call(graph.op("ReduceMax", first), "largest")
            results["largest"] = [1, 1, 1, 1]
        float32 = onnx.TensorProto.FLOAT
        shapes = {"feature": [1, CHANNELS, 24, 30], "boxes": [self._boxes, 4]}
        inputs = [model.make_tensor_value_info(name, float32, shape) for name, shape in shapes.items()]
        outputs = [model.make_tensor_value_info(name, float32, shape) for name, shape in results.items()]
        made = model.make_graph(graph.nodes, "head", inputs, outputs, graph.constants)
        onnx.save(model.make_model(made, opset_imports=[model.make_opsetid("", 17)], ir_version=8), str(path))
        return path

    def _pool(self) -> str:
        indices = np.zeros(self._boxes, np.int64)
        size = {"output_height": 14, "output_width": 14, "spatial_scale": 0.25}
        return self._graph.op("RoiAlign", "feature", "boxes", indices, mode="avg", **size)

    def _convolve(self, maps: str, side: int, stride: int = 1) -> str:
        scale = (2 / CHANNELS) ** 0.5 / side
        kernel = self._random.normal(scale=scale, size=(CHANNELS, CHANNELS, side, side)).astype(np.float32)
        shape: dict[str, Any] = {"kernel_shape": [side, side], "strides": [stride, stride]}
        plain = self._graph.op("Conv", maps, kernel, pads=[side // 2] * 4, **shape)
        norm = self._random.uniform(0.5, 1.5, (4, CHANNELS)).astype(np.float32)
        return self._graph.op("Relu", self._graph.op("BatchNormalization", plain, *norm, epsilon=1e-3))


def answers(path: Path, boxes: int) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    corners = random.uniform(0, 60, (boxes, 2))
    where = np.concatenate([corners, corners + random.uniform(1, 36, (boxes, 2))], axis=1).astype(np.float32)
    feature = random.normal(size=(1, CHANNELS, 24, 30)).astype(np.float32)
    return list(session.run(None, {"feature": feature, "boxes": where}))


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("boxes", [40, 33, 5])
def test_rewriting_changes_no_answer(boxes: int, tmp_path: Path) -> None:
    path = Head(boxes).write(tmp_path / "head.onnx")
    (before,) = answers(path, boxes)
    assert run_in_portions(path) == 1
    portions = kinds(path)["GlobalAveragePool"]
    assert 1 < portions <= 16
    assert kinds(path)["BatchNormalization"] == 0
    np.testing.assert_allclose(answers(path, boxes)[0], before, rtol=1e-5, atol=1e-6)
    assert filter_pooled_maps(path) == portions
    left = [node for node in Converted(path).nodes if node.op_type == "Conv"]
    assert {tuple(attribute(node, "strides")) for node in left if attribute(node, "kernel_shape") == [3, 3]} == {(2, 2)}
    np.testing.assert_allclose(answers(path, boxes)[0], before, rtol=1e-4, atol=1e-5)


def test_portions_share_their_weights(tmp_path: Path) -> None:
    path = Head(40).write(tmp_path / "head.onnx")
    run_in_portions(path)
    kernels = [tensor for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4]
    assert len(kernels) == 5
    assert kinds(path)["Conv"] == 5 * kinds(path)["GlobalAveragePool"]


def test_a_head_that_something_else_reads_stays_as_it_is(tmp_path: Path) -> None:
    path = Head(40).write(tmp_path / "head.onnx", watched=True)
    before = path.read_bytes()
    assert run_in_portions(path) == 0
    assert filter_pooled_maps(path) == 0  # its convolutions have no bias: their normalisation was not folded into them
    assert path.read_bytes() == before


@given(NUMBERS, arrays(np.float64, 3, elements=st.floats(-2, 2)))
def test_the_transforms_filter_a_line(line: np.ndarray, taps: np.ndarray) -> None:
    matrices = of_a_line()
    filtered = matrices.row @ ((matrices.kernel @ taps) * (matrices.data @ line))
    np.testing.assert_allclose(filtered, np.correlate(line, taps, "same"), atol=1e-9)


@pytest.mark.parametrize("exact", [True, False])
def test_the_real_head_is_filtered_only_where_float32_is_true(
    exact: bool, paddle_model: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("paddle2onnx", reason="a core needs paddle2onnx", exc_type=ImportError)
    folder = PaddleFolder.open(paddle_model("MaskRCNN-ResNet50"))
    blueprint = Blueprint.draw(folder, "model", Program.read(folder.program))
    target = tmp_path / "core.onnx"
    build(blueprint.program, folder.weights, target, exact=exact)
    found = kinds(target)
    assert found["GlobalAveragePool"] == 16
    assert found["MatMul"] - 2 == (2 * 3 * 16 if exact else 0)
