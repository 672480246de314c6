"""COCO results files."""

from __future__ import annotations

import json
import logging
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.errors import InvalidParameter
from maskserve.exports.annotations import ImageIds, plain_id, read_annotations
from maskserve.exports.common import Segmented, one_result
from maskserve.saving.files import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from maskserve.exports.annotations import Annotations, ImageId
    from maskserve.exports.common import Outcomes
    from maskserve.instances import Instance
    from maskserve.results import InstanceSegResult

    CategoryIds = Sequence[int] | Mapping[int, int] | None

_log = logging.getLogger("maskserve")


def to_coco(
    result: InstanceSegResult, image_id: ImageId, category_ids: CategoryIds = None, *, bbox: bool = False
) -> list[dict[str, Any]]:
    """Return the entries of a COCO results file for one image, for evaluating masks.

    Args:
        result: the image's result.
        image_id: its id in the annotations.
        category_ids: the id of each class in the annotations, by class index (`COCO_CATEGORY_IDS` for COCO's own); None
            for the model's class indices.
        bbox: add the boxes, [x, y, width, height] in pixels. FiftyOne needs them. pycocotools does not, and takes the
            areas of the boxes for those of the masks where they are there.

    Returns:
        dicts with `image_id`, `category_id`, `score`, and `segmentation`, the compressed RLE of the whole image.

    Raises:
        InvalidParameter: there is no category id for a class that was found, or this is no result.
    """
    return _entries(result, image_id, lambda instance: _category(instance, category_ids), bbox=bbox)


def save_coco(
    results: Outcomes,
    path: str | os.PathLike[str],
    image_id: Callable[[InstanceSegResult, int], ImageId] | None = None,
    category_ids: CategoryIds = None,
    *,
    images: Any = None,
    bbox: bool = False,
) -> Path:
    """Write a COCO results file, image by image: it may be fed from `predict` directly.

    An image's id comes from `images` or `image_id`. Without either it is the number that is the name of the file
    (000000000139.jpg, COCO_val2014_000000000042.jpg).

    Args:
        results: any number of results. Failures are left out; how many there were is logged as a warning.
        path: the file.
        image_id: gives an image's id, from its result and its position among `results` (from 0; failures count, those
            that ``on_error="skip"`` left out cannot).
        category_ids: as in `to_coco`. Where it is None and `images` has categories, those with the labels' names.
        images: the annotations that the file is for: their path, their content, pycocotools' `COCO`, their list of
            images, or a dict of ids by file name. An id is found by the name of the file, with as many of its folders
            as are there; a page of a document by the name of its saved image, such as scan_0.png.
        bbox: as in `to_coco`.

    Returns:
        the file.

    Raises:
        InputError: `images` cannot be read, or the file not be written.
        InvalidParameter: an image has no id, or that of another image; a class has no category id.
    """
    if image_id is not None and images is not None:
        raise InvalidParameter("give images= or image_id=, not both")
    annotations = None if images is None else read_annotations(images)
    ids = ImageIds(annotations)
    give_id, target = image_id or ids, Path(path)
    segmented = Segmented(results, str(target))
    with replacing(target) as scratch, scratch.open("w", encoding="ascii") as file:
        separator = "[\n"
        for result in segmented:
            if not result.instances:
                continue
            number = give_id(result, segmented.position)
            category = _category_of(annotations, category_ids)
            for entry in _entries(result, number, category, bbox=bbox):
                file.write(separator + json.dumps(entry, allow_nan=False))
                separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")
    if ids.other_sizes:
        _log.warning("%d images have another size in the annotations: masks will not match there.", ids.other_sizes)
    return target


def _entries(
    result: InstanceSegResult, image_id: ImageId, category: Callable[[Instance], int], *, bbox: bool
) -> list[dict[str, Any]]:
    entries = []
    number = plain_id(image_id)
    for instance in one_result(result).instances:
        x0, y0, x1, y1 = instance.box
        entries.append(
            {
                "image_id": number,
                "category_id": category(instance),
                **({"bbox": [x0, y0, x1 - x0, y1 - y0]} if bbox else {}),
                "score": instance.score,
                "segmentation": instance.mask.to_coco(),
            }
        )
    return entries


def _category_of(annotations: Annotations | None, category_ids: CategoryIds) -> Callable[[Instance], int]:
    if category_ids is not None or annotations is None or annotations.categories is None:
        return lambda instance: _category(instance, category_ids)
    names = annotations.categories

    def named(instance: Instance) -> int:
        if instance.label not in names:
            raise InvalidParameter(
                f"images= has no category {instance.label!r} (class {instance.class_id}): give category_ids=, "
                "or leave the class out with predict(labels=...)"
            )
        return names[instance.label]

    return named


def _category(instance: Instance, category_ids: CategoryIds) -> int:
    if category_ids is None:
        return instance.class_id
    try:
        return operator.index(category_ids[instance.class_id])
    except (IndexError, KeyError):
        raise InvalidParameter(f"category_ids has no id for class {instance.class_id} ({instance.label})") from None
    except TypeError:
        raise InvalidParameter(f"category_ids={category_ids!r}: give an integer for each class") from None
