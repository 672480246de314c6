"""An R-CNN program becomes one plain ONNX model."""

from __future__ import annotations

from pathlib import Path

from maskserve.errors import ToolError
from maskserve_tools.converting.onnx_export import export
from maskserve_tools.converting.program import weights
from maskserve_tools.converting.program.pir import Program
from maskserve_tools.converting.rcnn.filtering import filter_pooled_maps
from maskserve_tools.converting.rcnn.join import join
from maskserve_tools.converting.rcnn.parts import split
from maskserve_tools.converting.rcnn.portions import run_in_portions
from maskserve_tools.converting.rcnn.structure import RCNN, find


def build(program: Program, parameters: Path, target: Path, *, exact: bool) -> None:
    """Write the ONNX model of an R-CNN program, which Paddle2ONNX cannot convert as a whole.

    Args:
        program: the whole program.
        parameters: its `inference.pdiparams`.
        target: the file to write; intermediate files are left beside it.
        exact: whether it will be computed in true float32 on a CPU.

    Raises:
        ToolError: it has something that the joined graph cannot express, or Paddle2ONNX fails.
    """
    rcnn = find(program)
    if rcnn is None:
        raise ToolError("this program is not an R-CNN")
    _refuse_what_onnx_lacks(rcnn)
    parts = split(program, rcnn)
    folder = target.parent
    parts.piece.program.write(folder / "parts.json")
    names = [op.parameter_name for op in program.named("p")]
    weights.subset(parameters, names, parts.piece.parameters, folder / "parts.pdiparams")
    export(folder / "parts.json", folder / "parts.pdiparams", folder / "parts.onnx")
    join(folder / "parts.onnx", rcnn, parts.holes, target)
    run_in_portions(target)
    if exact:
        filter_pooled_maps(target)


def _refuse_what_onnx_lacks(rcnn: RCNN) -> None:
    if rcnn.proposals.eta != 1 or rcnn.suppression.nms_eta != 1:
        raise ToolError("its suppression changes its threshold as it goes (eta), which ONNX has no operator for")
    if rcnn.suppression.nms_top_k > -1:
        raise ToolError(
            "its suppression limits the candidates of each class (nms_top_k), which ONNX has no operator for"
        )
