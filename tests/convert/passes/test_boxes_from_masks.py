"""The boxes around masks, of pixels and of lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskserve_convert.onnx.builder import f32, i64
from maskserve_convert.onnx.passes.boxes_from_masks import boxes_from_masks
from tests.convert.graphs import Graph
from tests.convert.passes.cores import answers, kinds, reasons, rewritten, write

SHAPE = ("batch", 3, 5, 7)
EDGES = ("left", "right", "top", "bottom", "any")
LOGITS = arrays(np.float32, (2, 3, 5, 7), elements=st.sampled_from([-1.0, 0.0, 2.0]), fill=st.just(-1.0))


class Extents:
    """The program's way from logits to boxes, as Paddle2ONNX spells it out."""

    def __init__(self, *, limit: str | None = None, opset: int = 17) -> None:
        self.graph = Graph("extents", opset)
        self._inside = self.graph.op("Greater", "logits", np.array(0, np.float32) if limit is None else limit)
        self._ones = self._cast(self._inside, 1)  # both sides read it

    def outputs(self) -> dict[str, Any]:
        columns, rows = (self._line(count, side) for count, side in ((7, (1, -1)), (5, (-1, 1))))
        (left, right), (top, bottom) = self._ends(columns), self._ends(rows)
        anything = self._reduced("ReduceMax", self._cast(self._inside, 6), 2, 3)
        return dict(zip(EDGES, (left, right, top, bottom, self._cast(anything, 1)), strict=True))

    def _line(self, count: int, shape: tuple[int, int]) -> Any:
        steps = [np.array(step, np.float32) for step in (0, count, 1)]
        line = self.graph.op("Reshape", self.graph.op("Range", *steps), i64(*shape))
        return self.graph.op("Expand", line, i64(5, 7))

    def _ends(self, grid: Any) -> tuple[Any, Any]:
        graph = self.graph
        inside = graph.op("Mul", grid, self._ones)
        greatest = self._reduced("ReduceMax", self._flattened(inside), -1)
        nothing = graph.op("Expand", f32(0), graph.op("Shape", self._inside))
        chosen = self._cast(graph.op("Add", self._ones, nothing), 9)
        far = graph.op("Add", np.array(1e8, np.float32), nothing)
        least = graph.op("Where", chosen, graph.op("Add", inside, nothing), far)
        return self._reduced("ReduceMin", self._flattened(least), -1), graph.op("Add", greatest, f32(1))

    def _reduced(self, kind: str, operand: Any, *axes: int) -> Any:
        if self.graph.opset < 18:
            return self.graph.op(kind, operand, axes=list(axes), keepdims=0)
        return self.graph.op(kind, operand, i64(*axes), keepdims=0)

    def _flattened(self, maps: Any) -> Any:
        sides = self.graph.op("Slice", self.graph.op("Shape", maps), i64(0), i64(2), i64(0))
        return self.graph.op("Reshape", maps, self.graph.op("Concat", sides, i64(-1), axis=0))

    def _cast(self, tensor: Any, to: int) -> Any:
        return self.graph.op("Cast", tensor, to=to)


@pytest.fixture(scope="module", params=[17, 18, 19], ids="opset {}".format)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    extents = Extents(opset=request.param)
    plain = write(tmp_path_factory.mktemp("extents") / "core.onnx", extents.graph, {"logits": SHAPE}, extents.outputs())
    found, lines = rewritten(plain, boxes_from_masks)
    assert found == 5
    return plain, lines


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOGITS)
def test_lines_give_the_same_boxes(pair: tuple[Path, Path], logits: np.ndarray) -> None:
    of_pixels, of_lines = (answers(path, {"logits": logits}) for path in pair)
    for edge in EDGES:
        np.testing.assert_array_equal(of_lines[edge], of_pixels[edge], err_msg=edge)


def test_the_boxes_are_those_of_the_masks(pair: tuple[Path, Path]) -> None:
    logits = np.full((1, 3, 5, 7), -1, np.float32)
    logits[0, 0, 2, 3:5] = logits[0, 1, 0, 0] = logits[0, 1, 4, 6] = 1
    found = answers(pair[1], {"logits": logits})
    edges = np.stack([found[edge] for edge in EDGES[:4]], axis=-1)[0]
    assert edges[:2].tolist() == [[3, 5, 2, 3], [0, 7, 0, 5]]
    assert found["any"][0].tolist() == [1, 1, 0]


def test_the_masks_are_passed_over_once_for_each_side(pair: tuple[Path, Path]) -> None:
    before, after = (kinds(path) for path in pair)
    assert before["Greater"] == 1
    assert (after["Greater"], after["ReduceMax"], after["ReduceMin"]) == (2, 2 + 3, 2)


def test_a_limit_that_is_computed_stays(tmp_path: Path) -> None:
    extents = Extents(limit="limit")
    inputs = {"logits": SHAPE, "limit": ("batch", 3, 5, 7)}
    plain = write(tmp_path / "core.onnx", extents.graph, inputs, extents.outputs())
    expected = "the number that the masks are compared with is computed (5 places)"
    assert reasons(plain, boxes_from_masks) == (expected,)


def test_other_reductions_stay(tmp_path: Path) -> None:
    graph = Graph("other")
    weights = graph.op("Mul", "logits", graph.op("Cast", graph.op("Greater", "logits", f32(0)), to=1))
    largest = graph.op("ReduceMax", graph.op("Reshape", weights, i64(0, 0, -1)), axes=[-1], keepdims=0)
    plain = write(tmp_path / "core.onnx", graph, {"logits": SHAPE}, {"largest": largest})
    assert reasons(plain, boxes_from_masks) == ("what is reduced are not the coordinates of one side",)


def test_a_least_coordinate_that_counts_the_pixels_outside_stays(tmp_path: Path) -> None:
    extents = Extents()
    inside = extents.graph.op("Mul", extents._line(7, (1, -1)), extents._ones)
    least = extents.graph.op("ReduceMin", extents._flattened(inside), axes=[-1], keepdims=0)
    plain = write(tmp_path / "core.onnx", extents.graph, {"logits": SHAPE}, {"least": least})
    (reason,) = reasons(plain, boxes_from_masks)
    assert reason.startswith("the least coordinate counts the pixels outside")
