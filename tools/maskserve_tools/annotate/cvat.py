"""An auto-annotation function for CVAT: `cvat-cli task auto-annotate`, its agents, and `maskserve annotate cvat`.

Example:
    cvat-cli task auto-annotate 137 --function-module maskserve_tools.annotate.cvat -p model=str:people.maskserve
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from maskserve.errors import InvalidParameter, ToolError
from maskserve.exports.common import outlines, row_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskserve.exports.common import Parts
    from maskserve.instances import Instance
    from maskserve.masks import Mask
    from maskserve.pipeline import Pipeline

Shape = Literal["mask", "polygon"]
INSTALL = 'pip install "maskserve[cvat]", on Python 3.11 or later'


def create(
    model: str,
    *,
    url: str | None = None,
    shape: Shape = "mask",
    parts: Parts = "join",
    tolerance: float = 0.0,
    threshold: float | None = None,
    device: str | None = None,
) -> CvatFunction:
    """Return the function; cvat-cli calls this with what its `-p` says.

    Args:
        model: a model's name, folder, bundle or pipeline file, as for `create_pipeline`.
        url: the server; None as for `create_pipeline`.
        shape: "mask" or "polygon".
        parts: of polygons: "join" for one with all parts and holes, connected by lines of no width; "split" for one
            for each part, in one group; "largest" for the largest part alone.
        tolerance: how far polygons may be from the mask's edge, in pixels. Not with joined parts.
        threshold: from 0 to 1, where CVAT asks for none; None for the model's own.
        device: what to run the model on, where it runs here.

    Raises:
        ToolError: CVAT's library is missing.
        MaskserveError: as of `create_pipeline`.
    """
    from maskserve import create_pipeline

    pipeline = create_pipeline(model, url=url, device=device, threshold=threshold)
    return CvatFunction(pipeline, shape=shape, parts=parts, tolerance=tolerance)


class CvatFunction:
    """What CVAT calls a detection function: labels, and shapes for an image.

    Args:
        pipeline: the model.
        shape: as in `create`.
        parts: as in `create`.
        tolerance: as in `create`.

    Raises:
        ToolError: CVAT's library is missing.
        InvalidParameter: there is no such shape, or parts and tolerance make no sense.
        ServerError: the model cannot be asked for its labels.
    """

    def __init__(
        self, pipeline: Pipeline, *, shape: Shape = "mask", parts: Parts = "join", tolerance: float = 0.0
    ) -> None:
        from maskserve.masks import Mask

        self._cvat = cvat_library("auto_annotation")
        self._pipeline, self._parts, self._tolerance = pipeline, parts, tolerance
        if shape not in ("mask", "polygon"):
            raise InvalidParameter(f"no shape {shape!r}: mask and polygon are known")
        self._shape = shape
        outlines(Mask(b"", (0, 0, 0, 0), (1, 1)), parts, tolerance)  # refuses what makes no sense
        known = cvat_library("models").LabeledShapeRequest.attribute_map
        self._has_scores = "score" in known
        labels = enumerate(pipeline.labels)
        self._spec = self._cvat.DetectionFunctionSpec(
            labels=[self._cvat.label_spec(name, number, type=shape) for number, name in labels]
        )

    @property
    def spec(self) -> Any:
        """Return CVAT's `DetectionFunctionSpec`: the model's labels by their class indices."""
        return self._spec

    def detect(self, context: Any, image: Any) -> list[Any]:
        """Return CVAT's shapes for an image.

        Args:
            context: CVAT's; its `conf_threshold` and `conv_mask_to_poly` are heeded.
            image: a PIL image.
        """
        threshold = getattr(context, "conf_threshold", None)
        polygons = self._shape == "polygon" or getattr(context, "conv_mask_to_poly", False)
        result = self._pipeline.segment(image, threshold=threshold)
        return [
            shape
            for number, instance in enumerate(result.instances, start=1)
            if instance.mask
            for shape in (self._polygons(instance, number) if polygons else [self._mask(instance)])
        ]

    def _mask(self, instance: Instance) -> Any:
        return self._cvat.mask(instance.class_id, mask_points(instance.mask), **self._more(instance))

    def _polygons(self, instance: Instance, number: int) -> Iterator[Any]:
        found = outlines(instance.mask, self._parts, self._tolerance)
        group = {"group": number} if len(found) > 1 else {}
        for outline in found:
            points = outline.astype(float).ravel().tolist()
            yield self._cvat.polygon(instance.class_id, points, **group, **self._more(instance))

    def _more(self, instance: Instance) -> dict[str, Any]:
        return {"score": min(1.0, instance.score)} if self._has_scores else {}


def mask_points(mask: Mask) -> list[float]:
    """Return CVAT's form of a mask: run lengths of its window row by row, background first, then the window.

    The window is left, top, right and bottom, the last two inclusive.
    """
    x, y, width, height = mask.bbox
    left, top = x - mask.box[0], y - mask.box[1]
    runs = row_runs(mask.crop()[top : top + height, left : left + width])
    return [float(number) for number in (*runs.tolist(), x, y, x + width - 1, y + height - 1)]


def cvat_library(module: str) -> Any:
    """Return a module of CVAT's library.

    Raises:
        ToolError: it is missing.
    """
    from importlib import import_module

    try:
        return import_module(f"cvat_sdk.{module}")
    except ImportError as error:
        raise ToolError(f"CVAT's library is not there ({error}): {INSTALL}") from None
