"""Average precision and recall, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pycocotools.coco import COCO

    from maskserve_tools.evaluate.dataset import Dataset

# The twelve figures of COCO, in pycocotools' order. AR1 allows one detection in an image.
FIGURES = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large",
           "AR1", "AR10", "AR100", "AR small", "AR medium", "AR large")  # fmt: skip
MOST_IN_AN_IMAGE = 100
_KINDS = {"box": "bbox", "mask": "segm"}
_ALL_AREAS, _MOST_DETECTIONS = 0, -1


@dataclass(frozen=True, slots=True)
class Figures:
    """What one comparison comes to.

    Attributes:
        all: COCO's figures by their names, from 0 to 1; None where the data set has nothing to judge that by.
        by_category: AP of each category, by name.
    """

    all: Mapping[str, float | None]
    by_category: Mapping[str, float | None]


def score(dataset: Dataset, detections: Sequence[Mapping[str, Any]], categories: Sequence[int]) -> dict[str, Figures]:
    """Compare detections with the truth.

    Args:
        dataset: the truth.
        detections: dicts with `image_id`, `category_id`, `score`, `bbox` and `segmentation` (compressed run lengths),
            with the data set's numbers.
        categories: the numbers of those to judge.

    Returns:
        the figures by "box", and by "mask" where the data set has masks.
    """
    kinds = _KINDS if dataset.masks else {"box": _KINDS["box"]}
    return {kind: _judge(dataset, detections, categories, way) for kind, way in kinds.items()}


def _judge(dataset: Dataset, detections: Sequence[Mapping[str, Any]], categories: Sequence[int], way: str) -> Figures:
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = _as_coco(dataset, [dict(annotation) for annotation in dataset.annotations])
        found = _as_coco(dataset, [_detected(one, number, way) for number, one in enumerate(detections, 1)])
        evaluation = COCOeval(truth, found, way)
        evaluation.params.catIds = list(categories)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, _ALL_AREAS, _MOST_DETECTIONS]
    return Figures(
        {name: _figure(value) for name, value in zip(FIGURES, evaluation.stats, strict=True)},
        {dataset.categories[number]: _mean(precision[:, :, place]) for place, number in enumerate(sorted(categories))},
    )


def _as_coco(dataset: Dataset, annotations: Sequence[Mapping[str, Any]]) -> COCO:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": one.number, "height": one.size[0], "width": one.size[1]} for one in dataset.images],
        "categories": [{"id": number, "name": name} for number, name in dataset.categories.items()],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _detected(detection: Mapping[str, Any], number: int, way: str) -> dict[str, Any]:
    """Return a detection as pycocotools has it; its area, which small, medium and large go by, is that of the kind."""
    from pycocotools import mask

    width, height = detection["bbox"][2:]
    area = width * height if way == _KINDS["box"] else float(mask.area(detection["segmentation"]))
    return {**detection, "id": number, "iscrowd": 0, "area": area}


def _figure(value: float) -> float | None:
    return None if value < 0 else float(value)


def _mean(precision: Any) -> float | None:
    known = precision[precision > -1]
    return float(np.mean(known)) if known.size else None
