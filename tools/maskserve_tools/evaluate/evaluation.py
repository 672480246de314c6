"""Segment the images of a data set, and judge what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskserve.errors import MaskserveError, ToolError
from maskserve_tools.evaluate.scoring import Figures, score

if TYPE_CHECKING:
    from maskserve.instances import Instance
    from maskserve.pipeline import Pipeline
    from maskserve.results import InstanceSegResult
    from maskserve_tools.evaluate.dataset import Dataset, TruthImage


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        images: how many images were segmented.
        annotations: how many annotated objects were looked for, crowds included.
        detections: how many instances were found.
        categories: the names of the categories that were judged.
        figures: by "box", and by "mask" where the data set has masks.
        seconds: for segmenting all images.
    """

    images: int
    annotations: int
    detections: int
    categories: tuple[str, ...]
    figures: Mapping[str, Figures]
    seconds: float


def evaluate(
    pipeline: Pipeline,
    dataset: Dataset,
    categories: Mapping[int, int],
    *,
    threshold: float,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Segment all images of a data set and judge what was found.

    Args:
        pipeline: the model.
        dataset: the images and the truth.
        categories: the number of the category, by class index; what the model finds of other classes is not looked at.
        threshold: instances must score higher.
        advance: called after each image.

    Raises:
        ToolError: an image is of another size than the annotations say, or is not one image.
        MaskserveError: an image cannot be segmented, or the model not be used.
    """
    detections = list[Mapping[str, Any]]()
    begun = time.perf_counter()
    paths = [str(image.path) for image in dataset.images]
    results = pipeline.predict(paths, threshold=threshold, class_ids=sorted(categories))
    for image, result in _together(dataset.images, results):
        detections += [
            _as_detection(instance, image.number, categories[instance.class_id]) for instance in result.instances
        ]
        advance()
    seconds = time.perf_counter() - begun
    judged = sorted(set(categories.values()))
    return Evaluation(
        len(paths),
        sum(annotation["category_id"] in judged for annotation in dataset.annotations),
        len(detections),
        tuple(dataset.categories[number] for number in judged),
        score(dataset, detections, judged),
        seconds,
    )


def _together(
    images: Sequence[TruthImage], results: Iterator[InstanceSegResult]
) -> Iterator[tuple[TruthImage, InstanceSegResult]]:
    """Yield each image with its result."""
    for image in images:
        try:
            result = next(results)
        except MaskserveError as error:
            raise type(error)(f"{error.message}; without all images there is no AP") from error
        if result.part is not None or str(result["input_path"]) != str(image.path):
            raise ToolError(f"{image.path} holds several images; annotations are of one")
        if result.instances.image_size != image.size:
            (height, width), (other, wide) = result.instances.image_size, image.size
            is_turned = (height, width) == (wide, other)
            turned = ", or its EXIF data turn it: annotate it as it is shown" if is_turned else ""
            raise ToolError(
                f"{image.path} is {height} x {width} (height, width), but the annotations say {other} x {wide}: "
                f"another image was annotated{turned}"
            )
        yield image, result


def _as_detection(instance: Instance, image: int, category: int) -> Mapping[str, Any]:
    x0, y0, x1, y1 = instance.box
    return {
        "image_id": image,
        "category_id": category,
        "score": instance.score,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": instance.mask.to_coco(),
    }
