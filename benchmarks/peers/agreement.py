"""Whether two services found the same in an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskserve.instances import Instances
from maskserve.masks import Mask, decode_crop
from maskserve_tools.verify.comparison import compare
from maskserve_tools.verify.reference import ReferenceInstance

Envelope = list[dict[str, Any]]


def check_found(instances: Envelope, image: Path) -> Envelope:
    """Return the instances; the program ends where there are none, since then nothing would be compared."""
    if not instances:
        raise SystemExit(f"PaddleX finds nothing in {image}: choose another image")
    return instances


def check_agreement(theirs: Envelope, ours: Envelope, image: Path, threshold: float = 0.5) -> None:
    """End the program where the answers differ by more than `maskserve verify` tolerates."""
    height, width = cv2.imread(str(image)).shape[:2]
    found = compare([_theirs(instance) for instance in theirs], _ours(ours, (height, width)), threshold)
    if not found.equal:
        raise SystemExit(f"the services do not find the same in {image}: {found}")


def _theirs(instance: dict[str, Any]) -> ReferenceInstance:
    mask = decode_crop(instance["mask"]["rleResult"].encode(), *instance["mask"]["size"])
    return ReferenceInstance(instance["categoryId"], instance["score"], tuple(instance["bbox"]), mask)


def _ours(envelope: Envelope, size: tuple[int, int]) -> Instances:
    masks = []
    for instance in envelope:
        (x, y), (height, width) = map(round, instance["bbox"][:2]), instance["mask"]["size"]
        masks.append(Mask(instance["mask"]["rleResult"].encode(), (x, y, width, height), size))
    return Instances(
        boxes_xyxy=np.array([instance["bbox"] for instance in envelope], np.float32).reshape(-1, 4),
        scores=np.array([instance["score"] for instance in envelope], np.float32),
        class_ids=np.array([instance["categoryId"] for instance in envelope], np.int32),
        labels=tuple(instance["categoryName"] for instance in envelope),
        masks=tuple(masks),
        image_size=size,
    )
