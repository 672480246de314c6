"""Mask-RT-DETR: cut in front of the resizing of the mask logits to the original image.

The tail of the program, backwards from its third result: cast, flatten, cast, greater_than, sigmoid, bilinear_interp
of [B, N, h, w] logits. The first result is the [B, N, 6] detections, reshaped to [B * N, 6].
"""

from __future__ import annotations

from maskserve_server.families import mask_rt_detr
from maskserve_tools.converting.families.base import CutPoints
from maskserve_tools.converting.program.pir import Program

_CASTS = frozenset({"cast", "flatten", "reshape"})


def recognise(program: Program) -> CutPoints | None:
    """See `Recogniser`."""
    fetches = program.fetches()
    if len(fetches) != 3:
        return None
    rows, _, masks = fetches
    compare = program.trace(masks, through=_CASTS)
    if compare.name != "greater_than":
        return None
    resize = program.trace(compare.inputs[0], through=frozenset({"sigmoid"}))
    if resize.name != "bilinear_interp" or program.producer(compare.inputs[0]).name != "sigmoid":
        return None
    logits, detections = resize.inputs[0], program.producer(rows).inputs[0]
    if not _fixed_candidates(program.shape(detections), program.shape(logits)):
        return None
    threshold = float(program.producer(compare.inputs[1]).attribute("value"))
    return CutPoints(
        family=mask_rt_detr.MaskRTDETR.name,
        outputs={mask_rt_detr.DETECTIONS: detections, mask_rt_detr.MASK_LOGITS: logits},
        where="in front of the bilinear_interp that resizes the mask logits to the original image",
        settings={"mask_threshold": threshold},
    )


def _fixed_candidates(detections: tuple[int, ...], logits: tuple[int, ...]) -> bool:
    """Whether the shapes are [B, N, 6] and [B, N, h, w] with the same fixed N."""
    return len(detections) == 3 and len(logits) == 4 and detections[2] == 6 and 0 < detections[1] == logits[1]
