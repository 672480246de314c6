"""The fifteen instance segmentation models of PaddleX, with the numbers that PaddleX publishes for them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from maskserve.errors import ToolError
from maskserve_server.engine_table import engine_names

# The releases of Paddle whose exports of the models are published. Those of the first are `.pdmodel` files.
VERSIONS = ("paddle3.0b2", "paddle3.0rc0", "paddle3.0.0")


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """What the models of one architecture have in common.

    Attributes:
        name: the architecture.
        description: what sets it apart, in a sentence.
        engines: what runs its networks, the recommended one first.
    """

    name: str
    description: str
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OfficialModel:
    """One row of PaddleX's table.

    Attributes:
        name: PaddleX's name, which is part of the archive's.
        family: its architecture.
        mask_ap: mask AP on COCO 2017 val, in percent.
        gpu_ms: milliseconds for an image on a Tesla T4, FP32; None where PaddleX gives no number.
        cpu_ms: milliseconds for an image on a Xeon Gold 5117 with 8 threads, FP32; None where there is no number.
        size_mb: the model's size in megabytes.
    """

    name: str
    family: ModelFamily
    mask_ap: float
    gpu_ms: float | None
    cpu_ms: float | None
    size_mb: float


# `convert --engine auto` decides for one model: it tries the engines in this order and takes the first that
# passes its check. This is the only place that says beforehand what to expect.
_ENGINES = engine_names()

_CASCADE = ModelFamily(
    "Cascade Mask R-CNN", "three R-CNN heads in a row, each trained for closer fitting boxes", _ENGINES
)
_MASK_RT_DETR = ModelFamily("Mask-RT-DETR", "a transformer without NMS; the most accurate of the list", _ENGINES)
_MASK_RCNN = ModelFamily("Mask R-CNN", "the two-stage classic: a mask for each region of interest", _ENGINES)
_PP_YOLOE_SEG = ModelFamily("PP-YOLOE_seg", "single-stage and anchor-free; the smallest of the list", _ENGINES)
_SOLOV2 = ModelFamily("SOLOv2", "masks by location, without boxes", _ENGINES)

CATALOGUE: tuple[OfficialModel, ...] = (
    OfficialModel("Mask-RT-DETR-H", _MASK_RT_DETR, 50.6, 132.693, 4896.17, 449.9),
    OfficialModel("Mask-RT-DETR-X", _MASK_RT_DETR, 47.5, 75.755, 3358.04, 237.5),
    OfficialModel("Mask-RT-DETR-L", _MASK_RT_DETR, 45.7, 46.5059, 2575.92, 113.6),
    OfficialModel("Mask-RT-DETR-M", _MASK_RT_DETR, 42.7, 36.8329, None, 66.6),
    OfficialModel("Mask-RT-DETR-S", _MASK_RT_DETR, 41.0, 33.5007, None, 51.8),
    OfficialModel("PP-YOLOE_seg-S", _PP_YOLOE_SEG, 32.5, None, None, 31.5),
    OfficialModel("SOLOv2", _SOLOV2, 35.5, None, None, 179.1),
    OfficialModel("MaskRCNN-ResNet50", _MASK_RCNN, 32.8, None, None, 128.7),
    OfficialModel("MaskRCNN-ResNet50-FPN", _MASK_RCNN, 35.6, None, None, 157.5),
    OfficialModel("MaskRCNN-ResNet50-vd-FPN", _MASK_RCNN, 36.4, None, None, 157.5),
    OfficialModel("MaskRCNN-ResNet101-FPN", _MASK_RCNN, 36.6, None, None, 225.4),
    OfficialModel("MaskRCNN-ResNet101-vd-FPN", _MASK_RCNN, 38.1, None, None, 225.1),
    OfficialModel("MaskRCNN-ResNeXt101-vd-FPN", _MASK_RCNN, 39.5, None, None, 370.0),
    OfficialModel("Cascade-MaskRCNN-ResNet50-FPN", _CASCADE, 36.3, None, None, 254.8),
    OfficialModel("Cascade-MaskRCNN-ResNet50-vd-SSLDv2-FPN", _CASCADE, 39.1, None, None, 254.7),
)

_BY_NAME = {model.name: model for model in CATALOGUE}


def is_official(name: str) -> bool:
    """Return whether the catalogue has a model of exactly this name."""
    return name in _BY_NAME


def find(name: str) -> OfficialModel:
    """Return the model called `name`.

    Raises:
        ToolError: there is none; the message has the names that come close.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    close = close_names(name)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ToolError(f"{name!r} is none of PaddleX's models: {hint}`maskserve models` lists all {len(CATALOGUE)}")


def close_names(name: str) -> list[str]:
    """Return up to three names of the catalogue that `name` may have been meant for, the closest first."""
    folded = {known.lower(): known for known in _BY_NAME}
    wanted = name.lower().removesuffix(".tar").removesuffix("_infer")
    return [folded[found] for found in difflib.get_close_matches(wanted, folded, n=3, cutoff=0.7)]
