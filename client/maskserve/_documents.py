"""Results as plain Python: what is printed, and what is written as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from maskserve.instances import Instances
    from maskserve.masks import Mask

MaskForm = Literal["rle", "dense", "none"]


def boxes(instances: Instances) -> list[dict[str, Any]]:
    """PaddleX's `boxes`: `cls_id`, `label`, `score` and `coordinate` of each instance.

    A coordinate on the edge of the picture is an int there (0, the width or the height), any other a float. The
    floats are what JSON needs: the float32 value, exactly.
    """
    height, width = instances.image_size
    return [
        {
            "cls_id": class_id,
            "label": label,
            "score": score,
            "coordinate": [_low(x0), _low(y0), width if x1 >= width else x1, height if y1 >= height else y1],
        }
        for class_id, label, score, (x0, y0, x1, y1) in zip(
            instances.class_ids.tolist(),
            instances.labels,
            instances.scores.tolist(),
            instances.boxes_xyxy.tolist(),
            strict=True,
        )
    ]


def _low(value: float) -> float:
    return 0 if value <= 0 else value


def mask_documents(masks: tuple[Mask, ...], form: MaskForm) -> list[Any]:
    """Masks for JSON: COCO RLE of the crops with their place, or nested lists of 0 and 1.

    Raises:
        InvalidParameter: there is no such form.
    """
    if form == "dense":
        return [mask.crop().tolist() for mask in masks]
    if form == "rle":
        return [_rle_document(mask) for mask in masks]
    raise InvalidParameter(f"no form {form!r} of masks: rle, dense and none are known")


def _rle_document(mask: Mask) -> dict[str, Any]:
    x, y, width, height = mask.box
    return {"size": [height, width], "counts": mask.counts.decode("ascii"), "origin": [x, y]}


def line(value: Any) -> str:
    """`value` on one line, floats of `coordinate` as short as float32 allows: 61.719788, not 61.71978759765625."""
    return repr(_shortened(value))


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: [_float32(number) for number in item] if key == "coordinate" else _shortened(item)
            for key, item in value.items()
        }
    return [_shortened(item) for item in value] if isinstance(value, list) else value


def _float32(number: float) -> float:
    return number if isinstance(number, int) else float(np.format_float_positional(np.float32(number), unique=True))
