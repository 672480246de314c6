"""PP-YOLOE_seg: cut in front of the NMS.

Behind it the program gathers the coefficients of the kept anchors by the NMS's index, multiplies them with the
prototypes, and resizes the result twice. The four values that all of that reads are batch-first and of fixed shape.
"""

from __future__ import annotations

from maskserve_server.families import pp_yoloe_seg
from maskserve_tools.converting.families.base import CutPoints
from maskserve_tools.converting.program.pir import Op, Program

_VIEWS = frozenset({"reshape", "transpose", "slice", "squeeze", "flatten"})


def recognise(program: Program) -> CutPoints | None:
    """See `Recogniser`."""
    if len(program.named("multiclass_nms3")) != 1 or program.named("roi_align"):
        return None
    (nms,) = program.named("multiclass_nms3")
    product = next((op for op in program.named("matmul") if _gathers(program, op, nms)), None)
    if product is None:
        return None
    gather, prototypes = (program.trace(value, through=_VIEWS) for value in product.inputs)
    coefficients = program.trace(gather.inputs[0], through=_VIEWS)
    boxes, scores = nms.inputs[:2]
    (height, width) = program.shape(program.feeds()["image"].outputs[0])[2:]
    names = ("score_threshold", "nms_threshold", "nms_top_k", "keep_top_k", "background_label", "normalized")
    return CutPoints(
        family=pp_yoloe_seg.PPYOLOESeg.name,
        outputs={
            pp_yoloe_seg.BOXES: boxes,
            pp_yoloe_seg.SCORES: scores,
            pp_yoloe_seg.COEFFICIENTS: coefficients.outputs[0],
            pp_yoloe_seg.PROTOTYPES: prototypes.outputs[0],
        },
        where="in front of the multiclass_nms3 (suppression, mask product and painting are done after the threshold)",
        settings={
            "input_size": [height, width],
            **{name: nms.attribute(name) for name in names},
            "mask_threshold": _mask_threshold(program),
        },
    )


def _gathers(program: Program, product: Op, nms: Op) -> bool:
    """Whether a product's first factor is gathered by the NMS's index."""
    gather = program.trace(product.inputs[0], through=_VIEWS)
    return gather.name == "gather" and gather.inputs[1] == nms.outputs[1]


def _mask_threshold(program: Program) -> float:
    compare = program.trace(program.fetches()[2], through=frozenset({"cast", "assign"}))
    return float(program.producer(compare.inputs[1]).attribute("value"))
