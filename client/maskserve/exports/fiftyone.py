"""FiftyOne: results as its detections, and a pipeline as a model for `dataset.apply_model`."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import ToolError
from maskserve.exports.common import one_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskserve.instances import Instance
    from maskserve.pipeline import Pipeline
    from maskserve.results import InstanceSegResult


def to_fiftyone(result: InstanceSegResult) -> Any:
    """Return `fiftyone.Detections`, one for each instance, with its mask.

    A detection's box is the window of its mask, since FiftyOne stretches a mask over its box: pixels stay what they
    are. `class_id` and the model's own `box` (x0, y0, x1, y1 in pixels) are attributes. An instance whose mask is empty
    has the model's box and no mask.

    Raises:
        ToolError: FiftyOne is not installed.
        InvalidParameter: this is no result.
    """
    labels = _fiftyone("labels")
    instances = one_result(result).instances
    height, width = instances.image_size
    return labels.Detections(detections=[_detection(labels.Detection, one, height, width) for one in instances])


def _detection(kind: Any, instance: Instance, height: int, width: int) -> Any:
    x, y, w, h = instance.mask.bbox
    mask = None
    if w and h:
        left, top = x - instance.mask.box[0], y - instance.mask.box[1]
        mask = instance.mask.crop()[top : top + h, left : left + w].astype(bool)
    else:
        x0, y0, x1, y1 = instance.box
        x, y, w, h = x0, y0, x1 - x0, y1 - y0  # type: ignore[assignment]
    return kind(
        label=instance.label,
        bounding_box=[x / width, y / height, w / width, h / height],
        confidence=instance.score,
        mask=mask,
        class_id=instance.class_id,
        box=list(instance.box),
    )


def fiftyone_model(pipeline: Pipeline) -> Any:
    """Return a `fiftyone.core.models.Model` that segments with a pipeline: for `dataset.apply_model(model, ...)`.

    `confidence_thresh` of `apply_model` is the threshold; without it the pipeline's, or else the model's own, holds.
    With `batch_size` so many images are under way at once. It works on images and on the frames of videos.

    Args:
        pipeline: from `create_pipeline`. It stays open; close it yourself.

    Raises:
        ToolError: FiftyOne is not installed.
    """
    base: Any = _fiftyone("models").Model

    class MaskserveModel(base):  # type: ignore[misc]
        """A pipeline of maskserve."""

        media_type = "image"
        ragged_batches = True
        transforms = None
        preprocess = False

        def __init__(self) -> None:
            self.config = SimpleNamespace(confidence_thresh=None)  # apply_model sets it, while it runs

        def predict(self, arg: Any) -> Any:
            """Return the detections of an image, [h, w, 3] uint8 in RGB, as FiftyOne reads it."""
            return to_fiftyone(pipeline.segment(_bgr(arg), threshold=self.config.confidence_thresh))

        def predict_all(self, args: Iterable[Any]) -> list[Any]:
            """Return the detections of several images, of which so many are under way at once."""
            batch = [_bgr(arg) for arg in args]
            threshold = self.config.confidence_thresh
            results = pipeline.predict(batch, batch_size=max(1, len(batch)), threshold=threshold)
            return [to_fiftyone(result) for result in results]

    return MaskserveModel()


def _bgr(image: Any) -> Any:
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def _fiftyone(module: str) -> Any:
    try:
        return import_module(f"fiftyone.core.{module}")
    except ModuleNotFoundError as error:
        raise ToolError(f'FiftyOne is not there ({error}): pip install "maskserve[fiftyone]"') from None
