"""Join the converted parts of an R-CNN program: replace their placeholders by standard ONNX operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve_convert.families.rcnn import pooling, proposals, suppression
from maskserve_convert.families.rcnn.split import BOXES, MASK_LOGITS, SCORES
from maskserve_convert.families.rcnn.structure import RCNN, Pooling
from maskserve_convert.onnx.builder import GraphBuilder, i64
from maskserve_convert.onnx.model import load, tidy
from maskserve_server.families.mask_rcnn import DETECTIONS, MASKS
from maskserve_server.stages import CORE_THRESHOLD, IM_SHAPE, IMAGE_TENSOR, SCALE_FACTOR

if TYPE_CHECKING:
    import onnx_ir as ir

    from maskserve_convert.onnx.builder import Operand

_Shapes = Mapping[str, Sequence[str | int | None]]
_INPUTS: _Shapes = {
    IMAGE_TENSOR: [1, 3, "height", "width"],
    IM_SHAPE: [1, 2],
    SCALE_FACTOR: [1, 2],
    CORE_THRESHOLD: [1, 1],
}
_OUTPUTS: _Shapes = {DETECTIONS: ["instances", 6], MASKS: ["instances", None, None]}


def join(converted: Path, rcnn: RCNN, placeholders: Mapping[str, str]) -> ir.Model:
    """Return one ONNX model.

    Args:
        converted: the parts, as Paddle2ONNX wrote them.
        rcnn: the structure of the program they came from.
        placeholders: what each of the parts' inputs stands for, see `Parts`.
    """
    model = load(converted)
    builder = GraphBuilder(model.graph, "rcnn")
    parts = {str(value.name): value for value in (*model.graph.inputs, *model.graph.outputs)}
    inputs = _declared({name: parts.get(name) for name in _INPUTS}, _INPUTS)
    connections = _Connections(builder, rcnn, {**parts, **inputs}, placeholders)
    rois, results = connections.add()
    rows = rcnn.proposals.limit
    sizes = builder.op("Expand", inputs[IM_SHAPE], i64(rows, 2))
    fillings: dict[str, Operand] = {"rois": rois, "rois_num": i64(rows), "image_sizes": sizes}
    for placeholder, kind in placeholders.items():
        if kind in fillings:
            element_type = parts[placeholder].dtype
            assert element_type is not None  # it is an input
            builder.replace(parts[placeholder], builder.op("Cast", fillings[kind], to=int(element_type)))
    model.graph.inputs[:] = inputs.values()
    model.graph.outputs[:] = _declared(results, _OUTPUTS).values()
    tidy(model)
    return model


class _Connections:
    """What stands between the parts."""

    def __init__(
        self,
        builder: GraphBuilder,
        rcnn: RCNN,
        parts: Mapping[str, ir.Value],
        placeholders: Mapping[str, str],
    ) -> None:
        self._builder, self._rcnn, self._parts = builder, rcnn, parts
        self._placeholders = {kind: parts[placeholder] for placeholder, kind in placeholders.items()}
        self._features = [parts[f"feature.{level}"] for level in range(len(rcnn.mask_pooling.features))]

    def add(self) -> tuple[ir.Value, dict[str, ir.Value]]:
        """Add it to the graph; returns the proposals, and the results by name."""
        builder, rcnn, parts = self._builder, self._rcnn, self._parts
        numbers = range(len(rcnn.proposals.levels))
        kinds = ("rpn_scores", "rpn_deltas", "anchors")
        levels = [tuple(parts[f"{kind}.{number}"] for kind in kinds) for number in numbers]
        rois, count = proposals.propose(builder, rcnn.proposals, levels, parts[IM_SHAPE])
        for number, step in enumerate(rcnn.rounds):
            self._pool(step, f"pooled.{number}", parts[f"refined.{number}"] if number else rois)
        floor = builder.op("Reshape", parts[CORE_THRESHOLD], i64(1))
        labels, scores, boxes = suppression.keep_best(
            builder, rcnn.suppression, parts[BOXES], parts[SCORES], count=count, floor=floor
        )
        self._pool(rcnn.mask_pooling, f"pooled.{len(rcnn.rounds)}", boxes)
        masks = suppression.of_class(builder, parts[MASK_LOGITS], labels)
        original = suppression.to_original(builder, boxes, parts[IM_SHAPE], parts[SCALE_FACTOR])
        return rois, {DETECTIONS: suppression.rows(builder, labels, scores, original), MASKS: masks}

    def _pool(self, step: Pooling, kind: str, boxes: ir.Value) -> None:
        pooled = pooling.pool(self._builder, step, self._features, boxes)
        self._builder.replace(self._placeholders[kind], pooled)


def _declared(values: Mapping[str, ir.Value | None], shapes: _Shapes) -> dict[str, ir.Value]:
    """Return the values, new ones where there are none, with names, shapes and type."""
    import onnx_ir as ir

    declared = {}
    for name, known in values.items():
        value = known or ir.Value()
        value.name, value.shape, value.type = name, ir.Shape(shapes[name]), ir.TensorType(ir.DataType.FLOAT)
        declared[name] = value
    return declared
