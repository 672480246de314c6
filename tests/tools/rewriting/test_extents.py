"""The boxes around masks, of pixels and of lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskserve_tools.converting.onnx_graph.writing import Graph, f32, i64
from maskserve_tools.converting.rewriting.extents import take_lines
from tests.tools.rewriting.cores import answers, kinds, rewritten, write

SHAPE = ("batch", 3, 5, 7)
EDGES = ("left", "right", "top", "bottom", "any")
LOGITS = arrays(np.float32, (2, 3, 5, 7), elements=st.sampled_from([-1.0, 0.0, 2.0]), fill=st.just(-1.0))


class Extents:
    """The program's way from logits to boxes, as Paddle2ONNX spells it out."""

    def __init__(self, *, limit: str | None = None) -> None:
        self.graph = Graph("extents")
        self._inside = self.graph.op("Greater", "logits", np.array(0, np.float32) if limit is None else limit)
        self._ones = self._cast(self._inside, 1)  # both sides read it

    def outputs(self) -> dict[str, str]:
        columns, rows = (self._line(count, side) for count, side in ((7, (1, -1)), (5, (-1, 1))))
        (left, right), (top, bottom) = self._ends(columns), self._ends(rows)
        anything = self.graph.op("ReduceMax", self._cast(self._inside, 6), axes=[2, 3], keepdims=0)
        return dict(zip(EDGES, (left, right, top, bottom, self._cast(anything, 1)), strict=True))

    def _line(self, count: int, shape: tuple[int, int]) -> str:
        steps = [np.array(step, np.float32) for step in (0, count, 1)]
        line = self.graph.op("Reshape", self.graph.op("Range", *steps), i64(*shape))
        return self.graph.op("Expand", line, i64(5, 7))

    def _ends(self, grid: str) -> tuple[str, str]:
        graph = self.graph
        inside = graph.op("Mul", grid, self._ones)
        greatest = graph.op("ReduceMax", self._flattened(inside), axes=[-1], keepdims=0)
        nothing = graph.op("Expand", f32(0), graph.op("Shape", self._inside))
        chosen = self._cast(graph.op("Add", self._ones, nothing), 9)
        far = graph.op("Add", np.array(1e8, np.float32), nothing)
        least = graph.op("Where", chosen, graph.op("Add", inside, nothing), far)
        return graph.op("ReduceMin", self._flattened(least), axes=[-1], keepdims=0), graph.op("Add", greatest, f32(1))

    def _flattened(self, maps: str) -> str:
        sides = self.graph.op("Slice", self.graph.op("Shape", maps), i64(0), i64(2), i64(0))
        return self.graph.op("Reshape", maps, self.graph.op("Concat", sides, i64(-1), axis=0))

    def _cast(self, tensor: str, to: int) -> str:
        return self.graph.op("Cast", tensor, to=to)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    extents = Extents()
    plain = write(tmp_path_factory.mktemp("extents") / "core.onnx", extents.graph, {"logits": SHAPE}, extents.outputs())
    found, lines = rewritten(plain, take_lines)
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
    assert rewritten(plain, take_lines)[0] == 0


def test_other_reductions_stay(tmp_path: Path) -> None:
    graph = Graph("other")
    weights = graph.op("Mul", "logits", graph.op("Cast", graph.op("Greater", "logits", f32(0)), to=1))
    largest = graph.op("ReduceMax", graph.op("Reshape", weights, i64(0, 0, -1)), axes=[-1], keepdims=0)
    plain = write(tmp_path / "core.onnx", graph, {"logits": SHAPE}, {"largest": largest})
    assert rewritten(plain, take_lines)[0] == 0


def test_a_least_coordinate_that_counts_the_pixels_outside_stays(tmp_path: Path) -> None:
    extents = Extents()
    inside = extents.graph.op("Mul", extents._line(7, (1, -1)), extents._ones)
    least = extents.graph.op("ReduceMin", extents._flattened(inside), axes=[-1], keepdims=0)
    plain = write(tmp_path / "core.onnx", extents.graph, {"logits": SHAPE}, {"least": least})
    assert rewritten(plain, take_lines)[0] == 0
