"""The training and evaluation photos: Penn-Fudan and the people of coco128, split by the lists in `splits/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

PERSON = 1  # COCO category id
SPLITS = Path(__file__).resolve().parent.parent / "splits"


@dataclass(frozen=True)
class Photo:
    """One photo in RGB [H, W, 3] uint8, and which person each pixel belongs to: ids [H, W] uint8, 0 = nobody."""

    name: str
    image: np.ndarray
    ids: np.ndarray

    @property
    def people(self) -> list[int]:
        """The ids that occur."""
        return [int(i) for i in np.unique(self.ids) if i]


def held_out(dataset: str) -> set[str]:
    """Names (without extension) of the photos of `dataset` that training must not see."""
    return set((SPLITS / f"{dataset}-held-out.txt").read_text(encoding="utf-8").split())


def _read_rgb(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"not a readable image: {path}")
    return np.ascontiguousarray(image[:, :, ::-1])


def read_pennfudan(folder: Path) -> list[Photo]:
    """Return all photos of `folder/images` with their masks in `folder/masks`."""
    photos = []
    for path in sorted((folder / "images").glob("*.jpg")):
        ids = cv2.imread(str(folder / "masks" / f"{path.stem}_mask.png"), cv2.IMREAD_UNCHANGED)
        if ids is None or ids.ndim != 2:
            raise ValueError(f"no single-channel mask for {path}")
        photos.append(Photo(path.stem, _read_rgb(path), ids.astype(np.uint8)))
    return photos


def polygons_of_people(label: Path, width: int, height: int) -> list[np.ndarray]:
    """Polygons [n, 2] in pixels of the people in a label file (class id, then x y pairs as fractions)."""
    polygons = []
    for line in label.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if not fields or int(fields[0]) != PERSON:
            continue
        points = np.array(fields[1:], np.float32).reshape(-1, 2)
        polygons.append(points * np.array([width, height], np.float32))
    return polygons


def read_coco128(folder: Path) -> list[Photo]:
    """Return the images that have a label file (the others are unlabelled, not empty), small people on top."""
    photos = []
    for path in sorted(folder.glob("*.jpg")):
        label = folder / "labels" / f"{path.stem}.txt"
        if not label.exists():
            continue
        image = _read_rgb(path)
        ids = np.zeros(image.shape[:2], np.uint8)
        polygons = polygons_of_people(label, image.shape[1], image.shape[0])
        for index, polygon in enumerate(sorted(polygons, key=cv2.contourArea, reverse=True), 1):
            cv2.fillPoly(ids, [np.round(polygon).astype(np.int32)], index)
        photos.append(Photo(path.stem, image, ids))
    return photos
