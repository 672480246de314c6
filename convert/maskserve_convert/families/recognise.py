"""Which family a program belongs to: decided by its structure, never by its name."""

from __future__ import annotations

from maskserve.errors import ToolError
from maskserve_convert.families import mask_rcnn, mask_rt_detr, pp_yoloe_seg, solov2
from maskserve_convert.families.base import CutPoints, Recogniser
from maskserve_convert.paddle.program import Program, nested

# What makes proposals is an R-CNN, whatever else it has.
_RECOGNISERS: dict[str, Recogniser] = {
    "an R-CNN": mask_rcnn.recognise,
    "Mask-RT-DETR": mask_rt_detr.recognise,
    "PP-YOLOE_seg": pp_yoloe_seg.recognise,
    "SOLOv2": solov2.recognise,
}
_INPUTS = frozenset({"image", "im_shape", "scale_factor"})
# What each family has and no other program of an object detector: a program without all of them is of none.
_MARKS = (
    "mask logits that are resized and compared with a number, and no suppression (Mask-RT-DETR)",
    "a suppression (multiclass_nms3) whose index gathers mask coefficients (PP-YOLOE_seg)",
    "a convolution with computed kernels (SOLOv2)",
    "region proposals (generate_proposals: Mask R-CNN, Cascade Mask R-CNN)",
)


def recognise(program: Program) -> CutPoints:
    """Find the family and its cut points.

    Raises:
        ToolError: the program is of none of the families that are known, or a part of its family is not found in it;
            the message names the part.
    """
    _refuse_other_inputs(program)
    _refuse_quantised(program)
    for family, recogniser in _RECOGNISERS.items():
        try:
            points = recogniser(program)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise ToolError(
                f"this program looks like {family}, but it is put together in a way that maskserve does not know "
                f"({error!r} while its parts were looked for)"
            ) from error
        if points is not None:
            return points
    raise ToolError(_explain(program))


def _refuse_other_inputs(program: Program) -> None:
    feeds = program.feeds()
    if "image" not in feeds or not feeds.keys() <= _INPUTS:
        raise ToolError(
            f"this program is not one of PaddleDetection's detectors: its inputs are {sorted(feeds)}, not image, "
            "im_shape and scale_factor"
        )
    for name, feed in feeds.items():
        batch = program.shape(feed.outputs[0])[0]
        if batch > 1:
            raise ToolError(
                f"this program was exported for batches of {batch} images ({name} is "
                f"{list(program.shape(feed.outputs[0]))}), and maskserve gives its core one image: export it for one "
                "image or any number of them (image_shape: [3, height, width])"
            )


def _refuse_quantised(program: Program) -> None:
    """Refuse operators of quantisation-aware training, which no engine of ours reads: Paddle2ONNX would abort there."""
    names = {str(raw["#"]).partition(".")[2] for raw in nested([op.raw for op in program.ops])}
    found = sorted(name for name in names if name.startswith("fake_"))
    if found:
        raise ToolError(
            f"this program was exported by quantisation-aware training (its operators: {', '.join(found[:3])}), which "
            "no engine here can run: export the model without it, and convert that with --precision int8"
        )


def _explain(program: Program) -> str:
    results = len(program.fetches())
    counted = f"It has {results} results" if results != 1 else "It has one result"
    boxes_only = "; detections and their count without masks are those of an object detector" if results == 2 else ""
    return (
        "this program is not an instance segmentation model that maskserve knows (Mask-RT-DETR, PP-YOLOE_seg, SOLOv2, "
        f"Mask R-CNN, Cascade Mask R-CNN). {counted}{boxes_only}. It has none of what a family is known by: "
        + "; ".join(_MARKS)
    )
