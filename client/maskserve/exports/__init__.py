"""Results in the forms of other tools: COCO, LabelMe, Label Studio, YOLO, pandas, supervision, FiftyOne.

pandas, supervision and FiftyOne are imported when they are used; they do not come with maskserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.exports.coco import save_coco, to_coco
from maskserve.exports.common import Segmented, one_result, outlines
from maskserve.exports.fiftyone import fiftyone_model, to_fiftyone
from maskserve.exports.label_studio import to_label_studio
from maskserve.exports.labelme import save_labelme, to_labelme

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.exports.common import Outcomes, Parts
    from maskserve.instances import Instances
    from maskserve.results import InstanceSegResult

__all__ = [
    "COCO_CATEGORY_IDS",
    "fiftyone_model",
    "save_coco",
    "save_labelme",
    "to_coco",
    "to_fiftyone",
    "to_label_studio",
    "to_labelme",
    "to_pandas",
    "to_supervision",
    "to_yolo",
]

COCO_CATEGORY_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""COCO's category ids of the 80 classes that PaddleX's models number from 0 to 79."""


def to_yolo(result: InstanceSegResult, *, parts: Parts = "largest") -> str:
    """Return a YOLO segmentation label file: a line for each instance, its class and its outline relative to the image.

    An instance whose mask is empty has no line.

    Args:
        result: the image's result.
        parts: the format holds one outline for each instance. "largest" for that of the largest part, its holes filled;
            "join" for all parts and holes, connected by lines of no width; "split" for a line for each part.

    Raises:
        InvalidParameter: there is no such form of parts, or this is no result.
    """
    instances = one_result(result).instances
    height, width = instances.image_size
    lines = []
    for instance in instances:
        for outline in outlines(instance.mask, parts):
            numbers = (outline / np.array([width, height])).ravel().tolist()
            lines.append(f"{instance.class_id} {' '.join(map(_decimal, numbers))}\n")
    return "".join(lines)


def to_pandas(results: Outcomes) -> Any:
    """Return a `pandas.DataFrame` with a row for each instance of each result; of frames with their index and time.

    Failures are left out; how many there were is logged as a warning, and is `attrs["failures"]` of the table.
    """
    import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]

    place, box = ("input_path", "page_index", "frame_index", "time"), ("x0", "y0", "x1", "y1")
    columns = (*place, "class_id", "label", "score", *box, "mask_area")
    segmented = Segmented(results, "the table")
    rows = [
        (*_place(result), one.class_id, one.label, one.score, *one.box, one.mask.area)
        for result in segmented
        for one in result.instances
    ]
    table = pandas.DataFrame(rows, columns=list(columns)).astype({"page_index": "Int64", "frame_index": "Int64"})
    if table["frame_index"].isna().all():
        table = table.drop(columns=["frame_index", "time"])
    table.attrs["failures"] = segmented.failures
    return table


def _place(result: InstanceSegResult) -> tuple[Any, ...]:
    return result.get("input_path"), result.page_index, result.frame_index, result.get("time")


def to_supervision(result: InstanceSegResult) -> Any:
    """Return `supervision.Detections` with masks painted in full size, as that library has them.

    ``data["index"]`` is each instance's place in the result, which `take` understands: a tracker returns some of them,
    in another order.
    """
    import supervision  # type: ignore[import-not-found,unused-ignore]

    instances = one_result(result).instances
    return supervision.Detections(
        xyxy=instances.boxes_xyxy.copy(),
        mask=_stacked(instances),
        confidence=instances.scores.copy(),
        class_id=instances.class_ids.astype(int),
        data={"class_name": np.array(instances.labels, dtype=str), "index": np.arange(len(instances))},
    )


def _decimal(value: float) -> str:
    """Return a number from 0 to 1, never with an exponent: not every reader knows them."""
    return f"{value:.8f}".rstrip("0").rstrip(".")


def _stacked(instances: Instances) -> NDArray[np.bool_]:
    masks = np.zeros((len(instances), *instances.image_size), bool)
    for plane, mask in zip(masks, instances.masks, strict=True):
        x, y, width, height = mask.box
        plane[y : y + height, x : x + width] = mask.crop()
    return masks
