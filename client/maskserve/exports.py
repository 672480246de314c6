"""Results in the forms of other tools: COCO, LabelMe, YOLO, pandas, supervision.

pandas and supervision are imported when they are used; they do not come with maskserve.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve._files import replacing
from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from maskserve.instances import Instances
    from maskserve.masks import Mask
    from maskserve.results import InstanceSegResult

COCO_CATEGORY_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""COCO's category ids of the 80 classes that PaddleX's models number from 0 to 79."""


def to_coco(
    result: InstanceSegResult, image_id: int, category_ids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """The entries of a COCO results file for one picture, for evaluating masks.

    They have no `bbox`: with one, pycocotools would take the boxes' areas for those of the masks.

    Args:
        result: the picture's result.
        image_id: its id in the annotations.
        category_ids: the id of each class in the annotations (`COCO_CATEGORY_IDS` for COCO's own); None for the
            model's class indices.

    Returns:
        dicts with `image_id`, `category_id`, `score`, and `segmentation`, the compressed RLE of the whole picture.

    Raises:
        InvalidParameter: there is no category id for a class that was found.
    """
    entries = []
    for instance in result.instances:
        if category_ids is not None and instance.class_id >= len(category_ids):
            raise InvalidParameter(f"category_ids has no id for class {instance.class_id} ({instance.label})")
        entries.append(
            {
                "image_id": image_id,
                "category_id": instance.class_id if category_ids is None else int(category_ids[instance.class_id]),
                "score": instance.score,
                "segmentation": instance.mask.to_coco(),
            }
        )
    return entries


def save_coco(
    results: Iterable[InstanceSegResult],
    path: str | os.PathLike[str],
    image_id: Callable[[InstanceSegResult, int], int] = lambda _, position: position,
    category_ids: Sequence[int] | None = None,
) -> Path:
    """Write a COCO results file, picture by picture: it may be fed from `predict` directly.

    Args:
        results: any number of results.
        path: the file.
        image_id: gives a picture's id, from its result and its position among the results (from 0).
        category_ids: as in `to_coco`.

    Returns:
        the file.
    """
    target = Path(path)
    with replacing(target) as scratch, scratch.open("w", encoding="ascii") as file:
        separator = "[\n"
        for position, result in enumerate(results):
            for entry in to_coco(result, image_id(result, position), category_ids):
                file.write(separator + json.dumps(entry, allow_nan=False))
                separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")
    return target


def to_labelme(result: InstanceSegResult) -> dict[str, Any]:
    """A LabelMe annotation: a polygon for each part of each instance; parts of one share their `group_id`.

    LabelMe has no holes: they are filled.
    """
    shapes = [
        {
            "label": instance.label,
            "points": part.astype(float).tolist(),
            "group_id": number,
            "shape_type": "polygon",
            "flags": {},
            "description": f"{instance.score:.4f}",
        }
        for number, instance in enumerate(result.instances)
        for part in exteriors(instance.mask)
    ]
    height, width = result.instances.image_size
    return {
        "version": "5.0.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(result["input_path"]).name if result["input_path"] else "",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def to_yolo(result: InstanceSegResult) -> str:
    """A YOLO segmentation label file: a line for each instance, its class and its outline relative to the picture.

    The format holds one outline for each instance: the largest part's, holes filled. An instance whose mask is empty
    has no line.
    """
    height, width = result.instances.image_size
    lines = []
    for instance in result.instances:
        parts = exteriors(instance.mask)
        if parts:
            largest = max(parts, key=signed_area) / np.array([width, height])
            lines.append(f"{instance.class_id} {' '.join(f'{value:.6g}' for value in largest.ravel().tolist())}\n")
    return "".join(lines)


def to_pandas(results: Iterable[InstanceSegResult]) -> Any:
    """A `pandas.DataFrame` with a row for each instance of each result."""
    import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]

    columns = ("input_path", "class_id", "label", "score", "x0", "y0", "x1", "y1", "mask_area")
    rows = [
        (result["input_path"], one.class_id, one.label, one.score, *one.box, one.mask.area)
        for result in results
        for one in result.instances
    ]
    return pandas.DataFrame(rows, columns=list(columns))


def to_supervision(result: InstanceSegResult) -> Any:
    """`supervision.Detections` with masks painted in full size, as that library has them."""
    import supervision  # type: ignore[import-not-found,unused-ignore]

    instances = result.instances
    return supervision.Detections(
        xyxy=instances.boxes_xyxy.copy(),
        mask=_stacked(instances),
        confidence=instances.scores.copy(),
        class_id=instances.class_ids.astype(int),
        data={"class_name": np.array(instances.labels, dtype=str)},
    )


def exteriors(mask: Mask) -> list[NDArray[np.int64]]:
    """The outlines around foreground, without those of holes."""
    return [outline for outline in mask.polygons() if signed_area(outline) > 0]


def signed_area(outline: NDArray[Any]) -> float:
    """Pixels inside a closed outline [N, 2]; negative when it runs counter-clockwise on the screen."""
    x, y = outline[:, 0], outline[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _stacked(instances: Instances) -> NDArray[np.bool_]:
    masks = np.zeros((len(instances), *instances.image_size), bool)
    for plane, mask in zip(masks, instances.masks, strict=True):
        x, y, width, height = mask.box
        plane[y : y + height, x : x + width] = mask.crop()
    return masks
