"""Which family a program belongs to: decided by its structure, never by its name."""

from __future__ import annotations

from maskserve.errors import ToolError
from maskserve_tools.families import mask_rt_detr, pp_yoloe_seg, solov2
from maskserve_tools.families.base import CutPoints, Recogniser
from maskserve_tools.program.pir import Program

_RECOGNISERS: tuple[Recogniser, ...] = (mask_rt_detr.recognise, pp_yoloe_seg.recognise, solov2.recognise)

# Operators that only one architecture of PaddleX's list has, for a message that names what was found.
_NOT_YET = {
    "generate_proposals": "Mask R-CNN or Cascade Mask R-CNN",
}


def recognise(program: Program) -> CutPoints:
    """Find the family and its cut points.

    Raises:
        ToolError: an instance segmentation model that is not supported yet, or no such model at all.
    """
    for recogniser in _RECOGNISERS:
        if (found := recogniser(program)) is not None:
            return found
    raise ToolError(_explain(program))


def _explain(program: Program) -> str:
    names = {op.name for op in program.ops}
    for operator, family in _NOT_YET.items():
        if operator in names:
            return f"this is a {family} model; converting that family is not supported yet"
    results = [list(program.shape(value)) for value in program.fetches()]
    return (
        "this program is not an instance segmentation model that maskserve knows (Mask-RT-DETR, PP-YOLOE_seg, SOLOv2): "
        f"its inputs are {sorted(program.feeds())}, its results have the shapes {results}; "
        "expected are detections [-1, 6], their count, and masks [-1, -1, -1]"
    )
