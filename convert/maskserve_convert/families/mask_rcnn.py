"""Mask R-CNN and Cascade Mask R-CNN: cut in front of the pasting of the masks into the image."""

from __future__ import annotations

from maskserve_convert.families.base import CutPoints
from maskserve_convert.families.rcnn.build import build
from maskserve_convert.families.rcnn.finding import find
from maskserve_convert.paddle.program import Program
from maskserve_server.families import mask_rcnn
from maskserve_server.stages import CORE_THRESHOLD


def recognise(program: Program) -> CutPoints | None:
    """See `Recogniser`."""
    rcnn = find(program)
    if rcnn is None:
        return None
    return CutPoints(
        family=mask_rcnn.MaskRCNN.name,
        outputs={mask_rcnn.DETECTIONS: rcnn.detections, mask_rcnn.MASKS: rcnn.masks},
        where="in front of the loop that pastes each instance's probabilities into its box (grid_sample)",
        settings={"mask_threshold": rcnn.mask_threshold},
        build_onnx=build,
        onnx_feeds=(CORE_THRESHOLD,),
        classes=rcnn.suppression.classes,
        # A program that was exported for one size runs on all others, in Paddle, too, and has to: an image that keeps
        # its ratio seldom has that size.
        any_size=True,
    )
