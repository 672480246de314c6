"""Join the converted parts of an R-CNN program: fill their holes with standard ONNX operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskserve_server.families.mask_rcnn import DETECTIONS, MASKS
from maskserve_server.stages import CORE_THRESHOLD, IM_SHAPE, IMAGE_TENSOR, SCALE_FACTOR
from maskserve_tools.converting.onnx_graph.converted import Converted
from maskserve_tools.converting.onnx_graph.writing import Graph, Operand, i64
from maskserve_tools.converting.rcnn import pooling, proposals, suppression
from maskserve_tools.converting.rcnn.hoisting import Hoisting
from maskserve_tools.converting.rcnn.parts import BOXES, MASK_LOGITS, SCORES
from maskserve_tools.converting.rcnn.structure import RCNN, Pooling

_Shapes = Mapping[str, Sequence[str | int | None]]
_INPUTS: _Shapes = {
    IMAGE_TENSOR: [1, 3, "height", "width"],
    IM_SHAPE: [1, 2],
    SCALE_FACTOR: [1, 2],
    CORE_THRESHOLD: [1, 1],
}
_OUTPUTS: _Shapes = {DETECTIONS: ["instances", 6], MASKS: ["instances", None, None]}


def join(converted: Path, rcnn: RCNN, holes: Mapping[str, str], target: Path) -> None:
    """Write one ONNX model.

    Args:
        converted: the parts, as Paddle2ONNX wrote them.
        rcnn: the structure of the program they came from.
        holes: what each of the parts' inputs stands for, see `Parts`.
        target: the file to write.
    """
    parts, graph = Converted(converted), Graph("rcnn")
    rois = _Joints(parts, graph, rcnn, holes).add()
    rows = rcnn.proposals.limit
    sizes = graph.op("Expand", IM_SHAPE, i64(rows, 2))
    fillings: dict[str, Operand] = {"rois": rois, "rois_num": i64(rows), "image_sizes": sizes}
    for hole, kind in holes.items():
        if kind in fillings:
            graph.call(graph.op("Cast", fillings[kind], to=parts.types[hole]), hole)
    parts.inputs, parts.outputs = _tensors(_INPUTS), _tensors(_OUTPUTS)
    parts.save(graph, target)


class _Joints:
    """What stands between the parts."""

    def __init__(self, parts: Converted, graph: Graph, rcnn: RCNN, holes: Mapping[str, str]) -> None:
        self._graph, self._rcnn = graph, rcnn
        self._hoisting = Hoisting(parts, graph)
        self._holes = {kind: hole for hole, kind in holes.items()}
        self._features = [f"feature.{level}" for level in range(len(rcnn.mask_pooling.features))]

    def add(self) -> str:
        """Add it to the graph; returns the proposals."""
        graph, rcnn = self._graph, self._rcnn
        numbers = range(len(rcnn.proposals.levels))
        levels = [(f"rpn_scores.{number}", f"rpn_deltas.{number}", f"anchors.{number}") for number in numbers]
        rois, count = proposals.propose(graph, rcnn.proposals, levels, IM_SHAPE)
        for number, step in enumerate(rcnn.rounds):
            self._pool(step, f"pooled.{number}", f"refined.{number}" if number else rois)
        floor = graph.op("Reshape", CORE_THRESHOLD, i64(1))
        labels, scores, boxes = suppression.keep_best(graph, rcnn.suppression, BOXES, SCORES, count=count, floor=floor)
        self._pool(rcnn.mask_pooling, f"pooled.{len(rcnn.rounds)}", boxes)
        graph.call(suppression.of_class(graph, MASK_LOGITS, labels), MASKS)
        original = suppression.to_original(graph, boxes, IM_SHAPE, SCALE_FACTOR)
        graph.call(suppression.rows(graph, labels, scores, original), DETECTIONS)
        return rois

    def _pool(self, step: Pooling, kind: str, boxes: str) -> None:
        hole = self._holes[kind]
        if step.assignment is None and self._hoisting.applies(hole):
            self._hoisting.fill(step, self._features[0], boxes, hole)
        else:
            self._graph.call(pooling.pool(self._graph, step, self._features, boxes), hole)


def _tensors(tensors: _Shapes) -> list[Any]:
    from onnx import TensorProto, helper

    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()]
