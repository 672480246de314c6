"""Mask-RT-DETR: cut in front of the resizing of the mask logits to the original image.

The tail of the program, backwards from its third result: cast, flatten, cast, greater_than, sigmoid, bilinear_interp
of [B, N, h, w] logits. The first result is the [B, N, 6] detections, reshaped to [B * N, 6].
"""

from __future__ import annotations

from maskserve_convert.families.base import CutPoints
from maskserve_convert.families.refusal import found, not_found
from maskserve_convert.paddle.program import Program
from maskserve_server.families import mask_rt_detr

_NAME = "Mask-RT-DETR"
_OF_OTHERS = ("multiclass_nms3", "roi_align")
_CASTS = frozenset({"cast", "flatten", "reshape"})


def recognise(program: Program) -> CutPoints | None:
    """See `Recogniser`."""
    fetches = program.fetches()
    if len(fetches) != 3 or any(program.named(name) for name in _OF_OTHERS):
        return None
    rows, _, masks = fetches
    compare = program.trace(masks, through=_CASTS)
    if compare.name != "greater_than":
        return None
    sigmoid = program.producer(compare.inputs[0])
    resize = program.producer(sigmoid.inputs[0]) if sigmoid.name == "sigmoid" else sigmoid
    if sigmoid.name != "sigmoid" or resize.name != "bilinear_interp":
        raise not_found(_NAME, "the resizing of the mask logits (bilinear_interp) in front of their sigmoid")
    logits, detections = resize.inputs[0], program.producer(rows).inputs[0]
    if not _fixed_candidates(program.shape(detections), program.shape(logits)):
        raise not_found(
            _NAME,
            "a fixed number of candidates, the same for boxes and masks (the boxes are "
            f"{list(program.shape(detections))}, the mask logits {list(program.shape(logits))})",
        )
    constant = program.producer(compare.inputs[1]).attribute("value")
    threshold = float(found(constant, _NAME, "the number that the masks are compared with"))
    return CutPoints(
        family=mask_rt_detr.MaskRTDETR.name,
        outputs={mask_rt_detr.DETECTIONS: detections, mask_rt_detr.MASK_LOGITS: logits},
        where="in front of the bilinear_interp that resizes the mask logits to the original image",
        settings={"mask_threshold": threshold},
        classes=_classes(program, detections),
    )


def _classes(program: Program, detections: int) -> int | None:
    """Return how many values the column of the class can have: it is a remainder, or 0 in every row."""
    columns = program.trace(detections, through=frozenset({"concat"}))
    if columns.name != "combine":
        return None
    column = program.trace(columns.inputs[0], through=_CASTS | {"unsqueeze"})
    number = program.producer(column.inputs[-1]) if column.name in ("remainder", "full_like") else None
    if number is None or number.name != "full":
        return None
    value = int(number.attribute("value"))
    return value if column.name == "remainder" else value + 1


def _fixed_candidates(detections: tuple[int, ...], logits: tuple[int, ...]) -> bool:
    """Return whether the shapes are [B, N, 6] and [B, N, h, w] with the same fixed N."""
    return len(detections) == 3 and len(logits) == 4 and detections[2] == 6 and 0 < detections[1] == logits[1]
