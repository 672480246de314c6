"""Ground-truth masks of the demo photos: `python -m maskserve_demo.ground_truth [--overlay DIR]`.

Method: `photos/outlines.json` holds an outline of each person drawn by hand, a few pixels exact. Further than
`band` pixels inside of it is person, further outside is background; GrabCut decides the strip between by colour,
a median filter takes off single pixels, and the result is looked at (`--overlay` writes images for that).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

PHOTOS = Path(__file__).resolve().parent.parent / "photos"
ITERATIONS = 3


def trimap(outlines: list[list[list[int]]], band: int, shape: tuple[int, int]) -> np.ndarray:
    """GrabCut's labels [H, W] from outlines: sure within, sure without, undecided in the strip along them."""
    filled = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(filled, [np.array(outline, np.int32)], 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    # People who leave the image have no edge at its border: erosion must not make one there.
    within = cv2.erode(filled, disc, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    without = 1 - cv2.dilate(filled, disc)
    labels = np.where(filled > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[within > 0] = cv2.GC_FGD
    labels[without > 0] = cv2.GC_BGD
    return labels


def person_mask(image: np.ndarray, outlines: list[list[list[int]]], band: int) -> np.ndarray:
    """Mask [H, W] of 0 and 255 of the outlined person in a BGR image."""
    labels = trimap(outlines, band, image.shape[:2])
    cv2.setRNGSeed(0)
    background, person = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, labels, (0, 0, 0, 0), background, person, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    mask = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    return cv2.medianBlur(mask, 7)


def main() -> None:
    """Write `<photo>.mask.png` for every photo in `outlines.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overlay", type=Path, help="also write images with the masks' edges into this folder")
    arguments = parser.parse_args()
    for name, drawn in json.loads((PHOTOS / "outlines.json").read_text(encoding="utf-8")).items():
        image = cv2.imread(str(PHOTOS / f"{name}.jpg"))
        mask = person_mask(image, drawn["person"], drawn["band"])
        cv2.imwrite(str(PHOTOS / f"{name}.mask.png"), mask)
        if arguments.overlay:
            edges, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, edges, -1, (0, 255, 0), 2)
            for outline in drawn["person"]:
                cv2.polylines(image, [np.array(outline, np.int32)], True, (255, 0, 255), 1)
            cv2.imwrite(str(arguments.overlay / f"{name}.png"), image)


if __name__ == "__main__":
    main()
