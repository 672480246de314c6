"""Transpositions, as they are and as those of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskserve_convert.onnx.builder import i64
from maskserve_convert.onnx.passes.transpose_as_nchw import transpose_as_nchw
from tests.convert.graphs import Graph
from tests.convert.passes.cores import answers, reasons, rewritten, write


def test_what_is_reshaped_next_is_transposed_as_an_image(tmp_path: Path) -> None:
    graph = Graph("layout")
    reshaped = graph.op("Reshape", graph.op("Transpose", "tokens", perm=[0, 2, 1]), i64(-1, 2, 3, 5))
    read = graph.op("Relu", graph.op("Transpose", "tokens", perm=[0, 2, 1]))
    plain = write(tmp_path / "core.onnx", graph, {"tokens": ("batch", 15, 8)}, {"reshaped": reshaped, "read": read})
    found, target = rewritten(plain, transpose_as_nchw)
    assert found == 1
    tokens = np.random.default_rng(0).normal(size=(2, 15, 8)).astype(np.float32)
    before, after = (answers(path, {"tokens": tokens}) for path in (plain, target))
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_what_else_reads_a_transposition_is_said(tmp_path: Path) -> None:
    graph = Graph("layout")
    turned = graph.op("Transpose", "tokens", perm=[0, 2, 1])
    outputs = {"reshaped": graph.op("Reshape", turned, i64(-1, 2, 3, 5)), "read": graph.op("Relu", turned)}
    plain = write(tmp_path / "core.onnx", graph, {"tokens": ("batch", 15, 8)}, outputs)
    assert reasons(plain, transpose_as_nchw) == (
        "Relu reads a transposition of the last two sides, too, which only Reshape may read",
    )
