"""The model families: how each one's low-resolution answers become boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskserve.errors import ToolError
from maskserve_server.families.base import Detections, Family, Outputs, Selection
from maskserve_server.families.mask_rcnn import MaskRCNN
from maskserve_server.families.mask_rt_detr import MaskRTDETR
from maskserve_server.families.pp_yoloe_seg import PPYOLOESeg
from maskserve_server.families.solov2 import SOLOv2

__all__ = ["FAMILIES", "Detections", "Family", "Outputs", "Selection", "load_family"]

FAMILIES: dict[str, type[MaskRCNN] | type[MaskRTDETR] | type[PPYOLOESeg] | type[SOLOv2]] = {
    MaskRCNN.name: MaskRCNN,
    MaskRTDETR.name: MaskRTDETR,
    PPYOLOESeg.name: PPYOLOESeg,
    SOLOv2.name: SOLOv2,
}


def load_family(name: str, settings: Mapping[str, Any]) -> Family:
    """Return the family called `name`, set up with what `convert` read from the program.

    Raises:
        ToolError: there is none, or it has other settings.
    """
    if name not in FAMILIES:
        raise ToolError(f"{name!r} is not a family of this maskserve; it has {', '.join(FAMILIES)}")
    try:
        return FAMILIES[name](**settings)
    except (TypeError, ValueError) as error:
        raise ToolError(
            f"the settings of this {name} model are not its family's ({error}): convert it again"
        ) from error
