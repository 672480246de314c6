"""All passes over a core, in the order in which they run, with the conditions on which they do.

A pass is a function that finds places in a graph by their structure, and replaces what they make by what does the same
work faster. It returns how many places it rewrote, and notes why others, that nearly fit, were left. What is not needed
any more is removed behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maskserve_convert.onnx.builder import GraphBuilder
from maskserve_convert.onnx.model import forget_shapes, infer_shapes, tidy
from maskserve_convert.onnx.passes.boxes_from_masks import boxes_from_masks
from maskserve_convert.onnx.passes.chunk_roi_head import chunk_roi_head
from maskserve_convert.onnx.passes.fold_upsample_conv import fold_upsample_conv
from maskserve_convert.onnx.passes.gather_before_matmul import gather_before_matmul
from maskserve_convert.onnx.passes.hoist_pointwise import hoist_pointwise
from maskserve_convert.onnx.passes.transpose_as_nchw import transpose_as_nchw
from maskserve_convert.onnx.passes.winograd_conv import winograd_conv
from maskserve_convert.onnx.passes.winograd_roi_head import winograd_roi_head
from maskserve_convert.onnx.report import NearMisses, PassReport

if TYPE_CHECKING:
    import onnx_ir as ir


class Rewriting(Protocol):
    """Rewrites the places of one pattern."""

    def __call__(self, builder: GraphBuilder, misses: NearMisses) -> int:
        """Return how many places were rewritten.

        Args:
            builder: the core's graph, and what adds nodes to it. The shapes of its values are inferred.
            misses: takes the reasons why places that nearly fit are left.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pass:
    """One entry of the list.

    Attributes:
        name: the module of the pass.
        rewriting: what it does.
        needs: the operators that a model must have; without them there is nothing to find.
        exact_only: whether it rounds more, and therefore runs only for cores that compute in true float32.
        new_shapes: whether it asks for shapes inside of what earlier passes added. A value that takes another one's
            place has its shape already.
    """

    name: str
    rewriting: Rewriting
    needs: frozenset[str]
    exact_only: bool = False
    new_shapes: bool = False


PASSES = (
    # R-CNNs whose head convolves every box's pooled features (C4). Each builds on the one before.
    Pass("hoist_pointwise", hoist_pointwise, frozenset({"RoiAlign", "Conv"})),
    Pass("chunk_roi_head", chunk_roi_head, frozenset({"RoiAlign", "GlobalAveragePool"}), new_shapes=True),
    Pass("winograd_roi_head", winograd_roi_head, frozenset({"RoiAlign", "Conv"}), exact_only=True, new_shapes=True),
    # Mask-RT-DETR's decoder.
    Pass("boxes_from_masks", boxes_from_masks, frozenset({"Greater", "ReduceMax"})),
    Pass("gather_before_matmul", gather_before_matmul, frozenset({"GatherND", "MatMul"})),
    # PP-YOLOE_seg's prototypes.
    Pass("fold_upsample_conv", fold_upsample_conv, frozenset({"ConvTranspose", "Conv"})),
    # Any family. Filtering comes last: it looks at the convolutions that are left.
    Pass("transpose_as_nchw", transpose_as_nchw, frozenset({"Transpose", "Reshape"})),
    Pass("winograd_conv", winograd_conv, frozenset({"Conv"}), exact_only=True),
)

_NOT_EXACT = "not run: it rounds more than a convolution, and this core is not sure to compute in true float32"


def rewrite(model: ir.Model, *, exact: bool) -> tuple[PassReport, ...]:
    """Run all passes over a core in memory.

    Args:
        model: the core; it is changed.
        exact: whether it will be computed in true float32 on a CPU.

    Returns:
        a report of each pass, in order.
    """
    declared = [(value.shape, value.type) for value in model.graph.outputs]
    infer_shapes(model)
    reports = list[PassReport]()
    for step in PASSES:
        reports.append(_run(step, model, exact=exact, changed=any(report.found for report in reports)))
    forget_shapes(model.graph)
    for value, (shape, kind) in zip(model.graph.outputs, declared, strict=True):
        value.shape, value.type = shape, kind
    return tuple(reports)


def _run(step: Pass, model: ir.Model, *, exact: bool, changed: bool) -> PassReport:
    if missing := step.needs - {node.op_type for node in model.graph}:
        return PassReport(step.name, 0, (f"nothing to find: the core has no {' and no '.join(sorted(missing))}",))
    if step.exact_only and not exact:
        return PassReport(step.name, 0, (_NOT_EXACT,))
    if changed and step.new_shapes:
        infer_shapes(model)
    misses = NearMisses()
    found = step.rewriting(GraphBuilder(model.graph, step.name), misses)
    if found:
        tidy(model)
    return PassReport(step.name, found, misses.reasons)
