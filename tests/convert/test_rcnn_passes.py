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

from maskserve_convert.families.rcnn.build import build
from maskserve_convert.onnx.builder import i64
from maskserve_convert.onnx.model import load, save
from maskserve_convert.onnx.nodes import attribute
from maskserve_convert.onnx.passes.chunk_roi_head import chunk_roi_head
from maskserve_convert.onnx.passes.winograd_roi_head import of_a_line, winograd_roi_head
from maskserve_convert.onnx.pipeline import rewrite
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.program import Program
from maskserve_convert.recognised import RecognisedModel
from tests.convert.graphs import Graph
from tests.convert.passes.cores import reasons, rewritten

onnx = pytest.importorskip("onnx", reason="rewriting needs the convert extra", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

CHANNELS = 12
NUMBERS = arrays(np.float64, 7, elements=st.floats(-100, 100))


class Head:
    """Writes a residual block with a stride and one without behind the pooling of a fixed number of boxes."""

    def __init__(self, boxes: int) -> None:
        self._boxes, self._graph, self._random = boxes, Graph("head"), np.random.default_rng(0)

    def write(self, path: Path, *, watched: bool = False) -> Path:
        graph = self._graph
        main = self._convolve(graph.op("Relu", self._pool()), 3, stride=2)
        beside = graph.op("Slice", self._pool(), i64(0, 0), i64(99, 99), i64(2, 3), i64(2, 2))
        first = graph.op("Relu", graph.op("Add", self._convolve(main, 1), beside))
        inner = self._convolve(self._convolve(first, 1), 3)
        second = graph.op("Relu", graph.op("Add", self._convolve(inner, 1), first))
        results = {"average": graph.op("GlobalAveragePool", second)}
        if watched:
            results["largest"] = graph.op("ReduceMax", first)
        return graph.write(path, {"feature": [1, CHANNELS, 24, 30], "boxes": [self._boxes, 4]}, results)

    def _pool(self) -> Any:
        indices = np.zeros(self._boxes, np.int64)
        size = {"output_height": 14, "output_width": 14, "spatial_scale": 0.25}
        return self._graph.op("RoiAlign", "feature", "boxes", indices, mode="avg", **size)

    def _convolve(self, maps: Any, side: int, stride: int = 1) -> Any:
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
    found, path = rewritten(path, chunk_roi_head)
    assert found == 1
    chunks = kinds(path)["GlobalAveragePool"]
    assert 1 < chunks <= 16
    assert kinds(path)["BatchNormalization"] == 0
    np.testing.assert_allclose(answers(path, boxes)[0], before, rtol=1e-5, atol=1e-6)
    found, path = rewritten(path, winograd_roi_head)
    assert found == chunks
    left = [node for node in load(path).graph if node.op_type == "Conv"]
    assert {tuple(attribute(node, "strides")) for node in left if attribute(node, "kernel_shape") == [3, 3]} == {(2, 2)}
    np.testing.assert_allclose(answers(path, boxes)[0], before, rtol=1e-4, atol=1e-5)


def test_chunks_share_their_weights(tmp_path: Path) -> None:
    _, path = rewritten(Head(40).write(tmp_path / "head.onnx"), chunk_roi_head)
    kernels = [tensor for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4]
    assert len(kernels) == 5
    assert kinds(path)["Conv"] == 5 * kinds(path)["GlobalAveragePool"]


def test_a_head_that_something_else_reads_stays_as_it_is(tmp_path: Path) -> None:
    path = Head(40).write(tmp_path / "head.onnx", watched=True)
    before = kinds(path)
    assert reasons(path, chunk_roi_head) == ("ReduceMax reads features between the pooling and the average, too",)
    assert reasons(path, winograd_roi_head) == (
        "a 3x3 convolution of 7x7 maps has no bias: its normalisation was not folded into it",
    )
    model = load(path)
    assert not any(report.found for report in rewrite(model, exact=True))
    save(model, path)
    assert kinds(path) == before


def test_a_head_of_an_unknown_number_of_boxes_stays_as_it_is(tmp_path: Path) -> None:
    path = Head(40).write(tmp_path / "head.onnx")
    model = onnx.load(path)
    for tensor in (*model.graph.input, *model.graph.output):
        if tensor.name != "feature":
            tensor.type.tensor_type.shape.dim[0].dim_param = "boxes"
    indices = next(tensor for tensor in model.graph.initializer if tensor.dims == [40] and tensor.data_type == 7)
    model.graph.initializer.remove(indices)
    model.graph.input.append(onnx.helper.make_tensor_value_info(indices.name, 7, ["boxes"]))
    onnx.save(model, str(path))
    (reason,) = reasons(path, chunk_roi_head)
    assert reason.startswith("the number of boxes that the head convolves, or their size, is not known")
    (reason,) = reasons(path, winograd_roi_head)
    assert reason == "a 3x3 convolution of 7x7 maps is of a number of maps that is not known beforehand"


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
    recognised = RecognisedModel.recognise(folder, "model", Program.read(folder.program))
    model = build(recognised.program, folder.weights, tmp_path)
    reports = {report.name: report for report in rewrite(model, exact=exact)}
    assert reports["hoist_pointwise"].found == 4
    assert reports["chunk_roi_head"].found == 1
    assert reports["winograd_roi_head"].found == (2 * 16 if exact else 0)
    assert any("true float32" in reason for reason in reports["winograd_roi_head"].reasons) is not exact
    found = Counter(node.op_type for node in model.graph)
    assert found["GlobalAveragePool"] == 16
    assert found["MatMul"] - 2 == (2 * 3 * 16 if exact else 0)
