"""PP-YOLOE_seg: cut in front of the NMS.

Behind it the program gathers the coefficients of the kept anchors by the NMS's index, multiplies them with the
prototypes, and resizes the result twice. The four values that all of that reads are batch-first and of fixed shape.
"""

from __future__ import annotations

from maskserve.errors import ToolError
from maskserve_convert.families.base import CutPoints
from maskserve_convert.families.refusal import found, not_found
from maskserve_convert.paddle.program import Op, Program
from maskserve_server.families import pp_yoloe_seg

_NAME = "PP-YOLOE_seg"
_VIEWS = frozenset({"reshape", "transpose", "slice", "squeeze", "flatten"})


def recognise(program: Program) -> CutPoints | None:
    """See `Recogniser`."""
    suppressions = program.named("multiclass_nms3")
    if not suppressions or program.named("roi_align"):
        return None
    if len(suppressions) > 1:
        raise not_found(_NAME, f"one suppression (multiclass_nms3; it has {len(suppressions)})")
    if len(program.fetches()) != 3:
        raise not_found(
            _NAME, f"its three results (it has {len(program.fetches())}; a PP-YOLOE without masks detects objects only)"
        )
    (nms,) = suppressions
    if nms.attribute("nms_eta") < 1:
        raise ToolError(
            f"this {_NAME} changes its suppression's threshold as it goes (nms_eta {nms.attribute('nms_eta'):.3g}), "
            "which maskserve does not do: export it with nms_eta 1"
        )
    products = [op for op in program.named("matmul") if _gathers(program, op, nms)]
    product = found(next(iter(products), None), _NAME, "the product (matmul) of coefficients that the suppression kept")
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
        classes=program.shape(scores)[1],
        where="in front of the multiclass_nms3 (suppression, mask product and painting are done after the threshold)",
        settings={
            "input_size": [height, width],
            **{name: nms.attribute(name) for name in names},
            "mask_threshold": _mask_threshold(program),
        },
    )


def _gathers(program: Program, product: Op, nms: Op) -> bool:
    """Return whether a product's first factor is gathered by the NMS's index."""
    gather = program.trace(product.inputs[0], through=_VIEWS)
    return gather.name == "gather" and gather.inputs[1] == nms.outputs[1]


def _mask_threshold(program: Program) -> float:
    compare = program.trace(program.fetches()[2], through=frozenset({"cast", "assign"}))
    constant = program.producer(compare.inputs[1]) if compare.name == "greater_than" else None
    part = "the comparison of the masks with a number (greater_than)"
    return float(found(constant and constant.attribute("value"), _NAME, part))
