"""Batches of training views, made in a worker process while the network computes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from . import layout
from .augment import View, random_view
from .photos import Photo

MASK_TARGET_STRIDE = 2  # the masks are taught at twice the resolution they are predicted at
EARLY, EARLY_SIZE = 0.55, 320  # this share of the steps uses smaller views, which are faster


@dataclass
class Batch:
    """Images [B, 3, S, S]; per image boxes [n, 4] (fractions), masks [n, S/2, S/2] (0..1), boxes to ignore [m, 4]."""

    images: Tensor
    boxes: list[Tensor]
    masks: list[Tensor]
    ignored: list[Tensor]


def normalise(image: np.ndarray) -> np.ndarray:
    """RGB [S, S, 3] uint8 to the network's input [3, S, S] float32."""
    return ((image.astype(np.float32) / 255 - layout.MEAN) / layout.STD).transpose(2, 0, 1).astype(np.float32)


def targets(view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, masks and ignored boxes of a view."""
    size = view.ids.shape[0]
    small = size // MASK_TARGET_STRIDE
    boxes, masks, ignored = [], [], []
    for i in (int(i) for i in np.unique(view.ids) if i):
        mask = (view.ids == i).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        box = np.array([x, y, x + width, y + height], np.float32) / size
        if i in view.ignored:
            ignored.append(box)
            continue
        boxes.append(box)
        masks.append(cv2.resize(mask.astype(np.float32), (small, small), interpolation=cv2.INTER_AREA))
    return (
        torch.from_numpy(np.array(boxes, np.float32).reshape(-1, 4)),
        torch.from_numpy(np.array(masks, np.float32).reshape(-1, small, small)),
        torch.from_numpy(np.array(ignored, np.float32).reshape(-1, 4)),
    )


class Views(Dataset[Batch]):
    """Endless-looking list of batches; batch i is the same on every run with the same seed.

    Two in five views start from Penn-Fudan, half from coco128 photos with people, a tenth from those without.
    """

    def __init__(self, pennfudan: list[Photo], coco128: list[Photo], seed: int, steps: int, batch: int) -> None:
        self.streets = pennfudan
        self.people = [photo for photo in coco128 if photo.people]
        self.nobody = [photo for photo in coco128 if not photo.people]
        self.lenders = self.streets + self.people
        self.seed, self.steps, self.batch = seed, steps, batch

    def __len__(self) -> int:
        return self.steps

    def _photo(self, rng: np.random.Generator) -> Photo:
        draw = rng.random()
        pool = self.streets if draw < 0.4 else self.people if draw < 0.9 else self.nobody
        return pool[int(rng.integers(len(pool)))]

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        size = EARLY_SIZE if step < EARLY * self.steps else layout.SIZE
        views = [random_view(rng, self.lenders, self._photo(rng), size) for _ in range(self.batch)]
        boxes, masks, ignored = zip(*(targets(view) for view in views), strict=True)
        images = torch.from_numpy(np.stack([normalise(view.image) for view in views]))
        return Batch(images, list(boxes), list(masks), list(ignored))


def loader(views: Views, first: int) -> DataLoader[Batch]:
    """Batches from step `first` on."""
    cv2.setNumThreads(1)
    return DataLoader(views, batch_size=None, sampler=range(first, len(views)), num_workers=1, prefetch_factor=4)
