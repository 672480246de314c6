"""Whether annotations are in pixels, and their boxes x, y, width, height: others would count as objects never found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import ToolError
from maskserve_tools.evaluate.segmentation import Size

if TYPE_CHECKING:
    from maskserve_tools.evaluate.dataset import TruthImage

_MOST = 0.5  # of the annotations: single ones may be careless, or of objects that leave their image
_SAME = 0.5  # IoU of a box with that around its mask
_NEAR = 3.0  # pixels between the sides of two boxes that are the same, however small they are
_BEYOND = 0.02  # of the image's sides, by which a box may reach beyond it


@dataclass(frozen=True, slots=True)
class _Fault:
    """What annotations of another form have in common.

    Attributes:
        has: whether an annotation has it, in an image of a height and width.
        what: what is wrong.
        remedy: how it should be.
    """

    has: Callable[[Mapping[str, Any], Size], bool]
    what: str
    remedy: str


def check_units(file: Path, images: Sequence[TruthImage], annotations: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that most boxes and masks can be what they are taken for.

    Args:
        file: the annotation file.
        images: those of the annotations.
        annotations: dicts with `bbox`, `image_id`, and `segmentation` (compressed run lengths) in all or none of them.

    Raises:
        ToolError: most masks are empty, or most boxes lie elsewhere than their masks, or beyond their image.
    """
    for fault in _OF_MASKS if "segmentation" in annotations[0] else _OF_BOXES:
        odd = [one for one in annotations if fault.has(one, images[one["image_id"] - 1].size)]
        if len(odd) > _MOST * len(annotations):
            name, box = images[odd[0]["image_id"] - 1].path.name, ", ".join(f"{side:.4g}" for side in odd[0]["bbox"])
            raise ToolError(
                f"{file}: {len(odd)} of {len(annotations)} {fault.what} (the first one is in {name}, with the bbox "
                f"{box}): {fault.remedy}"
            )


def _has_no_pixels(annotation: Mapping[str, Any], _: Size) -> bool:
    from pycocotools import mask

    return int(mask.area(annotation["segmentation"])) == 0


def _is_elsewhere(annotation: Mapping[str, Any], _: Size) -> bool:
    from pycocotools import mask

    box, around = np.array(annotation["bbox"]), np.array(mask.toBbox(annotation["segmentation"]))
    same = float(mask.iou(box[None], around[None], [0])[0, 0])
    return same < _SAME and float(np.abs(_corners(box) - _corners(around)).max()) > _NEAR


def _is_beyond(annotation: Mapping[str, Any], size: Size) -> bool:
    x, y, width, height = annotation["bbox"]
    beyond = x + width > size[1] * (1 + _BEYOND) + _NEAR or y + height > size[0] * (1 + _BEYOND) + _NEAR
    return bool(beyond or width * height < 1)


def _corners(box: Any) -> Any:
    return np.concatenate([box[:2], box[:2] + box[2:]])


_FORM = "a bbox is x, y, width, height in pixels"
_OF_MASKS = (
    _Fault(_has_no_pixels, "masks have no pixels", "polygons are in pixels"),
    _Fault(_is_elsewhere, "boxes do not lie around their masks", f"{_FORM}; without it the box follows from the mask"),
)
_OF_BOXES = (_Fault(_is_beyond, "boxes reach beyond their images, or cover less than a pixel", _FORM),)
