"""Taking some of a product's rows, behind it and before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve_convert.onnx.builder import i64
from maskserve_convert.onnx.passes.gather_before_matmul import gather_before_matmul
from tests.convert.graphs import Graph
from tests.convert.passes.cores import answers, reasons, rewritten, write

QUERIES, WIDTH, SIDE, KEPT = 6, 4, 3, 2
INPUTS = {
    "embeddings": ("batch", QUERIES, WIDTH),
    "features": ("batch", WIDTH, SIDE * SIDE),
    "order": ("batch", KEPT, 2),
}


def chosen(graph: Graph, *, layers: int = 1) -> Any:
    masks = graph.op("Reshape", graph.op("MatMul", "embeddings", "features"), i64(-1, QUERIES, SIDE, SIDE))
    stacked = graph.op("Concat", *[graph.op("Unsqueeze", masks, i64(0))] * layers, axis=0)
    last = graph.op("Squeeze", graph.op("Slice", stacked, i64(-1), i64(1 << 31), i64(0)), i64(0))
    return graph.op("Reshape", graph.op("GatherND", last, graph.op("Cast", "order", to=7)), i64(-1, KEPT, SIDE, SIDE))


def feeds(batch: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch)
    order = np.stack([np.repeat(np.arange(batch), KEPT), random.integers(0, QUERIES, batch * KEPT)], axis=1)
    return {
        "embeddings": random.normal(size=(batch, QUERIES, WIDTH)).astype(np.float32),
        "features": random.normal(size=(batch, WIDTH, SIDE * SIDE)).astype(np.float32),
        "order": order.reshape(batch, KEPT, 2).astype(np.float32),
    }


@pytest.mark.parametrize("batch", [1, 3])
def test_the_same_rows_come_out(batch: int, tmp_path: Path) -> None:
    graph = Graph("chosen")
    plain = write(tmp_path / "core.onnx", graph, INPUTS, {"masks": chosen(graph)})
    found, target = rewritten(plain, gather_before_matmul)
    assert found == 1
    np.testing.assert_allclose(
        answers(target, feeds(batch))["masks"], answers(plain, feeds(batch))["masks"], rtol=1e-6, atol=1e-6
    )


def test_a_choice_among_several_layers_stays(tmp_path: Path) -> None:
    graph = Graph("chosen")
    plain = write(tmp_path / "core.onnx", graph, INPUTS, {"masks": chosen(graph, layers=2)})
    (reason,) = reasons(plain, gather_before_matmul)
    assert "stands Concat of several" in reason


def test_a_choice_among_some_of_the_rows_stays(tmp_path: Path) -> None:
    graph = Graph("chosen")
    masks = graph.op("Reshape", graph.op("MatMul", "embeddings", "features"), i64(-1, QUERIES, SIDE, SIDE))
    stacked = graph.op("Concat", graph.op("Unsqueeze", masks, i64(0)), axis=0)
    later = graph.op("Slice", stacked, i64(1), i64(QUERIES), i64(2))
    order = graph.op("Cast", "order", to=7)
    kept = graph.op("GatherND", graph.op("Squeeze", later, i64(0)), order)
    result = graph.op("Reshape", kept, i64(-1, KEPT, SIDE, SIDE))
    plain = write(tmp_path / "core.onnx", graph, INPUTS, {"masks": result})
    (reason,) = reasons(plain, gather_before_matmul)
    assert "stands Slice of several, or along another side" in reason
