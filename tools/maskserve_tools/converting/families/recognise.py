"""Which family a program belongs to: decided by its structure, never by its name."""

from __future__ import annotations

from maskserve.errors import ToolError
from maskserve_tools.converting.families import mask_rcnn, mask_rt_detr, pp_yoloe_seg, solov2
from maskserve_tools.converting.families.base import CutPoints, Recogniser
from maskserve_tools.converting.program.pir import Program

_RECOGNISERS: tuple[Recogniser, ...] = (
    mask_rt_detr.recognise,
    pp_yoloe_seg.recognise,
    solov2.recognise,
    mask_rcnn.recognise,
)


def recognise(program: Program) -> CutPoints:
    """Find the family and its cut points.

    Raises:
        ToolError: the program is of none of the families that are known.
    """
    for recogniser in _RECOGNISERS:
        if (found := recogniser(program)) is not None:
            return found
    raise ToolError(_explain(program))


def _explain(program: Program) -> str:
    results = [list(program.shape(value)) for value in program.fetches()]
    return (
        "this program is not an instance segmentation model that maskserve knows (Mask-RT-DETR, PP-YOLOE_seg, SOLOv2, "
        f"Mask R-CNN, Cascade Mask R-CNN): its inputs are {sorted(program.feeds())}, its results have the shapes "
        f"{results}; expected are detections [-1, 6], their count, and masks [-1, -1, -1]"
    )
