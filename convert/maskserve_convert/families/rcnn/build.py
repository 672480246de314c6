"""An R-CNN program becomes one plain ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import ToolError
from maskserve_convert.families.rcnn.finding import find
from maskserve_convert.families.rcnn.split import split
from maskserve_convert.families.rcnn.stitch import join
from maskserve_convert.families.rcnn.structure import RCNN
from maskserve_convert.paddle import weights
from maskserve_convert.paddle.export import export
from maskserve_convert.paddle.program import Program

if TYPE_CHECKING:
    import onnx_ir as ir


def build(program: Program, parameters: Path, folder: Path) -> ir.Model:
    """Return the ONNX model of an R-CNN program, which Paddle2ONNX cannot convert as a whole.

    Args:
        program: the whole program.
        parameters: its `inference.pdiparams`.
        folder: intermediate files are left here.

    Raises:
        ToolError: it has something that the joined graph cannot express, or Paddle2ONNX fails.
    """
    rcnn = find(program)
    if rcnn is None:
        raise ToolError("this program is not an R-CNN")
    _refuse_what_onnx_lacks(rcnn)
    parts = split(program, rcnn)
    parts.subgraphs.program.write(folder / "parts.json")
    names = [op.parameter_name for op in program.named("p")]
    weights.subset(parameters, names, parts.subgraphs.parameters, folder / "parts.pdiparams")
    export(folder / "parts.json", folder / "parts.pdiparams", folder / "parts.onnx")
    return join(folder / "parts.onnx", rcnn, parts.placeholders)


def _refuse_what_onnx_lacks(rcnn: RCNN) -> None:
    if min(rcnn.proposals.eta, rcnn.suppression.nms_eta) < 1:  # Paddle takes no notice of a larger one
        raise ToolError("its suppression changes its threshold as it goes (eta), which ONNX has no operator for")
    kept, limit = rcnn.suppression.nms_top_k, rcnn.proposals.limit
    if -1 < kept < limit:  # as many as there are proposals, or more, is no limit
        raise ToolError(
            f"its suppression limits the candidates of each class (nms_top_k) to {kept} of {limit}, "
            "which ONNX has no operator for"
        )
