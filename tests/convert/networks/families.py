"""The networks by their names in the grid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.convert.networks.dense import MaskRTDETR, PPYOLOESeg
from tests.convert.networks.exporting import Cell
from tests.convert.networks.rcnn import RCNN
from tests.convert.networks.solov2 import SOLOv2

NETWORKS: dict[str, Callable[[Cell], Any]] = {
    "Mask-RT-DETR": MaskRTDETR,
    "PP-YOLOE_seg": PPYOLOESeg,
    "SOLOv2": SOLOv2,
    "Mask R-CNN FPN": RCNN,
    "Mask R-CNN C4": partial(RCNN, pyramid=False),
    "Cascade Mask R-CNN": partial(RCNN, stages=3),
}
