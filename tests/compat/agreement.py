"""Whether two recorded outcomes agree, and in what they do not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from recording import unpacked

from maskserve_tools.verify.comparison import SCORE_TOLERANCE, mask_iou

BOX_TOLERANCE = 0.5
LEAST_IOU = 0.995


@dataclass(slots=True)
class Distance:
    """How far the numbers of matching instances are apart at most.

    Attributes:
        instances: how many were compared.
        score: largest difference.
        box: largest difference of a side in pixels.
        iou: smallest intersection over union of two masks.
    """

    instances: int = 0
    score: float = 0.0
    box: float = 0.0
    iou: float = 1.0

    def include(self, other):
        """Take another's differences in."""
        self.instances += other.instances
        self.score, self.box = max(self.score, other.score), max(self.box, other.box)
        self.iou = min(self.iou, other.iou)

    def __str__(self):
        return f"{self.instances} instances, score {self.score:.0e}, box {self.box:.0e} px, IoU {self.iou:.4f}"


@dataclass(slots=True)
class Differences:
    """What was found to differ: pairs of the aspect and what the two sides have.

    Attributes:
        found: those pairs.
        distance: of what agrees.
    """

    found: list[tuple[str, str]] = field(default_factory=list)
    distance: Distance = field(default_factory=Distance)

    def note(self, aspect, theirs, ours):
        """Note it where the two are not the same."""
        if theirs != ours:
            self.found.append((aspect, f"{theirs} / {ours}"))


def compare_outcomes(theirs, ours):
    """The differences of two outcomes: of what was refused, and of every result."""
    differences = Differences()
    if ours["error"] is not None and not ours["error"][0].startswith("maskserve"):
        differences.found.append(("untyped error", ": ".join(ours["error"])))
    differences.note(kind_of_difference(theirs, ours), summary(theirs), summary(ours))
    if len(theirs["results"]) == len(ours["results"]):
        for one, other in zip(theirs["results"], ours["results"], strict=True):
            compare_results(one, other, differences)
    return differences


def kind_of_difference(theirs, ours):
    """Which side does without results: what is listed must not hide the other direction."""
    if theirs["error"] and not ours["error"]:
        return "refused there"
    if not theirs["error"] and not theirs["results"]:
        return "ignored there"
    return "refused here" if ours["error"] and not theirs["error"] else "number of results"


def summary(outcome):
    """An outcome in two words."""
    return f"{len(outcome['results'])} results" + (", then an error" if outcome["error"] else "")


def compare_results(theirs, ours, differences):
    """Note how two records of one result differ, field by field and instance by instance."""
    source = ours["input_path"]
    kind = "an array" if source is None else "an address" if "://" in source else "a file"
    differences.note(f"input_path of {kind}", theirs["input_path"], source)
    for key in ("keys", "page_index"):
        differences.note(key, theirs[key], ours[key])
    if "files" in theirs:
        compare_files(theirs["files"], ours["files"], differences)
    differences.note("number of instances", len(theirs["boxes"]), len(ours["boxes"]))
    differences.note("number of masks", len(theirs["masks"]), len(ours["masks"]))
    if len(theirs["boxes"]) == len(ours["boxes"]) and len(theirs["masks"]) == len(ours["masks"]):
        for pair in zip(theirs["boxes"], theirs["masks"], ours["boxes"], ours["masks"], strict=True):
            compare_instances(*pair, differences)


def compare_files(theirs, ours, differences):
    """Note which files are saved by one side only, and pictures of other sizes."""
    failed = [name for name in theirs if name.startswith("error")]
    if failed:
        differences.found.append(("saving fails there", f"{theirs[failed[0]][1]} / {sorted(ours)}"))
        return
    differences.note("file names", sorted(theirs), sorted(ours))
    for name in set(theirs) & set(ours):
        if isinstance(theirs[name], tuple):
            differences.note("picture size", theirs[name], ours[name])


def compare_instances(box, mask, our_box, our_mask, differences):
    """Note how one instance differs; `box` and `mask` are PaddleX's."""
    if "coordinate" not in box:  # SOLOv2: only class, score and a mask of the whole picture
        differences.found.append(("no coordinates there", ""))
        box = {**our_box, "cls_id": box["class_id"], "score": box["score"], "label": box["label"]}
        whole, mask = unpacked(mask), cropped(mask, our_box)
        differences.note("mask outside of its box", 0, int(whole.sum()) - int(mask.sum()))
    differences.note("keys of boxes", list(box), list(our_box))
    differences.note("class", (box["cls_id"], box["label"]), (our_box["cls_id"], our_box["label"]))
    kinds = [[isinstance(value, int) for value in one["coordinate"]] for one in (box, our_box)]
    differences.note("clipped sides", *kinds)
    measure(box, unpacked(mask) if isinstance(mask, tuple) else mask, our_box, unpacked(our_mask), differences)


def measure(box, mask, our_box, our_mask, differences):
    """Measure the distance of an instance from its counterpart, and note it where it is too much."""
    distance = differences.distance
    score = abs(box["score"] - our_box["score"])
    side = float(np.abs(np.subtract(box["coordinate"], our_box["coordinate"])).max())
    iou = mask_iou(mask, corner(box), our_mask, corner(our_box))
    distance.instances += 1
    distance.score, distance.box = max(distance.score, score), max(distance.box, side)
    distance.iou = min(distance.iou, iou)
    if score > SCORE_TOLERANCE or side > BOX_TOLERANCE or iou < LEAST_IOU:
        differences.found.append(("numbers", f"score {score:.4f}, box {side:.2f} px, IoU {iou:.4f}"))
    if mask.shape != our_mask.shape:
        differences.found.append(("shape of masks", f"{mask.shape} / {our_mask.shape}"))


def corner(box):
    """Column and row of a mask's first pixel."""
    return round(box["coordinate"][0]), round(box["coordinate"][1])


def cropped(mask, box):
    """A mask of the whole picture inside `box`."""
    left, top, right, bottom = (round(value) for value in box["coordinate"])
    return unpacked(mask)[top:bottom, left:right]
