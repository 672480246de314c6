"""Join the converted parts of an R-CNN program: fill their holes with standard ONNX operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskserve_tools.rcnn import pooling, proposals, suppression
from maskserve_tools.rcnn.graph import Graph, i64
from maskserve_tools.rcnn.parts import BOXES, MASK_LOGITS, SCORES
from maskserve_tools.rcnn.structure import RCNN

DETECTIONS = "detections"  # float32 [N, 6]: class, score, x0, y0, x1, y1 in pixels of the original image
MASKS = "masks"  # float32 [N, h, w]: probabilities

_Shapes = Mapping[str, Sequence[str | int | None]]
_INPUTS: _Shapes = {"image": [1, 3, "height", "width"], "im_shape": [1, 2], "scale_factor": [1, 2]}
_OUTPUTS: _Shapes = {DETECTIONS: ["instances", 6], MASKS: ["instances", None, None]}


def join(converted: Path, rcnn: RCNN, holes: Mapping[str, str], target: Path) -> None:
    """Write one ONNX model.

    Args:
        converted: the parts, as Paddle2ONNX wrote them.
        rcnn: the structure of the program they came from.
        holes: what each of the parts' inputs stands for, see `Parts`.
        target: the file to write.
    """
    import onnx

    model = onnx.load(converted)
    graph = Graph("rcnn")
    rois = _connect(graph, rcnn, holes)
    types = {tensor.name: tensor.type.tensor_type.elem_type for tensor in model.graph.input}
    fillings = {
        "rois": rois,
        "rois_num": _count(graph, rois),
        "image_sizes": graph.op("Expand", "im_shape", graph.op("Concat", _count(graph, rois), i64(2), axis=0)),
    }
    for hole, kind in holes.items():
        if kind in fillings:
            graph.call(graph.op("Cast", fillings[kind], to=types[hole]), hole)
    _write(model, graph, target)


def _connect(graph: Graph, rcnn: RCNN, holes: Mapping[str, str]) -> str:
    """Add everything between the parts; returns the proposals."""
    pooled = {kind: hole for hole, kind in holes.items()}
    features = [f"feature.{level}" for level in range(len(rcnn.mask_pooling.features))]
    numbers = range(len(rcnn.proposals.levels))
    levels = [(f"rpn_scores.{number}", f"rpn_deltas.{number}", f"anchors.{number}") for number in numbers]
    rois = proposals.propose(graph, rcnn.proposals, levels, "im_shape")
    for number, step in enumerate(rcnn.rounds):
        boxes = f"refined.{number}" if number else rois
        graph.call(pooling.pool(graph, step, features, boxes), pooled[f"pooled.{number}"])
    labels, scores, boxes = suppression.keep_best(graph, rcnn.suppression, BOXES, SCORES)
    graph.call(pooling.pool(graph, rcnn.mask_pooling, features, boxes), pooled[f"pooled.{len(rcnn.rounds)}"])
    graph.call(suppression.of_class(graph, MASK_LOGITS, labels), MASKS)
    original = suppression.to_original(graph, boxes, "im_shape", "scale_factor")
    graph.call(suppression.rows(graph, labels, scores, original), DETECTIONS)
    return rois


def _count(graph: Graph, rois: str) -> str:
    return graph.op("Slice", graph.op("Shape", rois), i64(0), i64(1))


def _write(model: Any, graph: Graph, target: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    names = {tensor.name for tensor in model.graph.initializer}
    inputs, results = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()]
        for tensors in (_INPUTS, _OUTPUTS)
    )
    joined = helper.make_graph(
        _ordered([*model.graph.node, *graph.nodes], {*_INPUTS, *names, *(tensor.name for tensor in graph.constants)}),
        "rcnn",
        inputs,
        results,
        [*model.graph.initializer, *graph.constants],
    )
    result = helper.make_model(joined, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(result)
    onnx.save(result, str(target))


def _ordered(nodes: Iterable[Any], known: Iterable[str]) -> list[Any]:
    """The nodes in an order in which each reads only what was made before."""
    made, left, ordered = {"", *known}, list(nodes), []
    while left:
        ready = [node for node in left if made.issuperset(node.input)]
        if not ready:
            raise ValueError(f"nodes that wait for each other: {[node.name for node in left][:5]}")
        made.update(name for node in ready for name in node.output)
        ordered += ready
        left = [node for node in left if not made.issuperset(node.output)]
    return ordered
