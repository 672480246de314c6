"""A model's folder as PaddleX takes it, and whether PaddleX finds in it what we find."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import yaml

from maskserve import create_pipeline
from maskserve_tools.verify.comparison import compare
from maskserve_tools.verify.reference import ReferenceInstance

# An official model of each family: PaddleX chooses by the name how an answer is read, and refuses names of others.
_OFFICIAL = {
    "mask_rt_detr": "Mask-RT-DETR-S",
    "pp_yoloe_seg": "PP-YOLOE_seg-S",
    "rcnn": "MaskRCNN-ResNet50-FPN",
    "solov2": "SOLOv2",
}
_THRESHOLD = 0.5


def named_for_paddlex(folder: Path, family: str, target: Path) -> Path:
    """Return a copy of the folder that has the name of an official model of its family."""
    shutil.copytree(folder, target)
    settings = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
    settings.setdefault("Global", {})["model_name"] = _OFFICIAL[family]
    (target / "inference.yml").unlink()
    (target / "inference.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return target


def check_same(found: Path, entry: Path, photo: Path) -> str:
    """Return how far PaddleX's answer and ours agree.

    Args:
        found: what `paddlex_pipeline.py` kept.
        entry: the model, converted.
        photo: the image.
    """
    with np.load(found) as kept:
        theirs = [
            ReferenceInstance(int(label), float(score), (box[0], box[1], box[2], box[3]), kept[f"mask{index}"])
            for index, (label, score, box) in enumerate(
                zip(kept["cls_id"], kept["score"], kept["coordinate"].tolist(), strict=True)
            )
        ]
    with create_pipeline(entry) as pipeline:
        ours = pipeline.segment(photo, threshold=_THRESHOLD).instances
    differences = compare(theirs, ours, _THRESHOLD)
    if differences.equal:
        return f"PaddleX and maskserve find the same {len(theirs)} instances, within the tolerances of `verify`."
    return f"PaddleX finds {len(theirs)} instances, maskserve {len(ours)}: {differences}"
