"""Small cores, written, rewritten and run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve_convert.onnx.builder import GraphBuilder
from maskserve_convert.onnx.model import forget_shapes, infer_shapes, load, save, tidy
from maskserve_convert.onnx.pipeline import Rewriting
from maskserve_convert.onnx.report import NearMisses
from tests.convert.graphs import Graph, Shape

onnx = pytest.importorskip("onnx", reason="rewriting needs the convert extra", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="running a graph needs the server extra", exc_type=ImportError)

Feeds = Mapping[str, np.ndarray]


def write(path: Path, graph: Graph, inputs: Mapping[str, Shape], outputs: Mapping[str, Any]) -> Path:
    """Write a graph whose inputs have the shapes given; `outputs` are the results by what they are called."""
    return graph.write(path, inputs, outputs)


def rewritten(path: Path, rewriting: Rewriting) -> tuple[int, Path]:
    """How many places are found, and the file with what was put there."""
    model = load(path)
    infer_shapes(model)
    found = rewriting(GraphBuilder(model.graph, getattr(rewriting, "__name__", "rewritten")), NearMisses())
    tidy(model)
    forget_shapes(model.graph)
    target = path.with_name("rewritten.onnx")
    save(model, target)
    return found, target


def reasons(path: Path, rewriting: Rewriting) -> tuple[str, ...]:
    """Why a pass leaves what nearly fits; it finds nothing else."""
    model, misses = load(path), NearMisses()
    infer_shapes(model)
    assert rewriting(GraphBuilder(model.graph, "rewritten"), misses) == 0
    return misses.reasons


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
