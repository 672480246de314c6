"""Random views of the training photos: crops, scales, pasted people, mosaics and colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from .photos import Photo

MIN_PIXELS = 60  # of a person, in the network's input, for it to be taught
MIN_VISIBLE = 0.25  # of a person that is pasted over or cut off, likewise
MOSAIC = 0.25  # share of views made of four photos
PASTE = 0.5  # share of views with people of other photos pasted in
MAX_PASTED = 3
PORTRAIT = 0.3  # share of photos cropped to somebody's upper body


@dataclass
class View:
    """A square training view: RGB [S, S, 3] uint8, ids [S, S] uint8 and which ids are too hidden to be taught."""

    image: np.ndarray
    ids: np.ndarray
    ignored: set[int]


def _between(rng: Generator, low: float, high: float) -> float:
    """Log-uniform number."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _placing(rng: Generator, shape: tuple[int, ...], width: int, height: int) -> np.ndarray:
    """Affine matrix [2, 3] that lays a random part of a photo of `shape` onto width x height.

    The whole photo stretched to the view is zoom 1; the network sees photos stretched like that.
    """
    zoom = _between(rng, 0.6, 2.5) if rng.random() < 0.8 else 1.0
    aspect = _between(rng, 0.75, 1.33) if rng.random() < 0.7 else 1.0
    scale_x = width / shape[1] * zoom * np.sqrt(aspect)
    scale_y = height / shape[0] * zoom / np.sqrt(aspect)
    angle = np.deg2rad(rng.uniform(-12, 12)) if rng.random() < 0.25 else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[scale_x * cos, -scale_y * sin, 0], [scale_x * sin, scale_y * cos, 0]])
    centre = matrix[:, :2] @ np.array([shape[1] / 2, shape[0] / 2])
    # Any part of an enlarged photo may be in view; a reduced one lies anywhere within it.
    slack = np.abs(np.array([shape[1] * scale_x - width, shape[0] * scale_y - height])) / 2
    matrix[:, 2] = np.array([width, height]) / 2 - centre + rng.uniform(-1, 1, 2) * slack
    return matrix


def _portrait(rng: Generator, ids: np.ndarray, width: int, height: int) -> np.ndarray:
    """Affine matrix [2, 3] that fills the view with the upper body of a random person.

    Street photos show whole people; portraits are made of them this way.
    """
    people = np.unique(ids[ids > 0])
    left, top, wide, high = cv2.boundingRect((ids == people[int(rng.integers(len(people)))]).astype(np.uint8))
    seen = min(high * rng.uniform(0.35, 0.8), wide * 1.5)  # pixels of the person's height in view
    margin = rng.uniform(0.02, 0.3) * seen
    scale_y = height / (seen + margin)
    scale_x = scale_y * _between(rng, 0.75, 1.33) * width / height
    middle = left + wide / 2 + rng.uniform(-0.25, 0.25) * wide
    return np.array([[scale_x, 0, width / 2 - middle * scale_x], [0, scale_y, (margin - top) * scale_y]])


def _flipped(rng: Generator, image: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if rng.random() < 0.5:
        return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(ids[:, ::-1])
    return image, ids


def _lay(rng: Generator, photo: Photo, width: int, height: int) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """Return a random part of one photo: pixels, ids and the ids that are mostly out of view."""
    image, ids = _flipped(rng, photo.image, photo.ids)
    if ids.any() and rng.random() < PORTRAIT:
        matrix = _portrait(rng, ids, width, height)
    else:
        matrix = _placing(rng, image.shape, width, height)
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    grey = tuple(int(v) for v in rng.integers(0, 256, 3)) if rng.random() < 0.5 else (114, 114, 114)
    laid = cv2.warpAffine(image, matrix, (width, height), flags=how, borderValue=grey)
    laid_ids = cv2.warpAffine(ids, matrix, (width, height), flags=cv2.INTER_NEAREST)
    pixel = abs(np.linalg.det(matrix[:, :2]))
    before = np.bincount(ids.ravel(), minlength=256) * pixel
    after = np.bincount(laid_ids.ravel(), minlength=256)
    hidden = {int(i) for i in np.flatnonzero(after) if i and after[i] < 0.1 * before[i]}
    return laid, laid_ids, hidden


def _mosaic(rng: Generator, photos: list[Photo], size: int) -> View:
    """Four photos around a random point."""
    x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * size)
    view = View(np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8), set())
    for rows, columns in ((r, c) for r in (slice(0, y), slice(y, size)) for c in (slice(0, x), slice(x, size))):
        photo = photos[int(rng.integers(len(photos)))]
        width, height = columns.stop - columns.start, rows.stop - rows.start
        image, ids, hidden = _lay(rng, photo, width, height)
        start = int(view.ids.max())
        view.image[rows, columns] = image
        view.ids[rows, columns] = np.where(ids > 0, ids + start, 0)
        view.ignored |= {i + start for i in hidden}
    return view


def _cut_out(rng: Generator, photo: Photo) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a random person of a photo: pixels and mask (0..255) of the box around it."""
    people = photo.people
    if not people:
        return None
    mask = (photo.ids == people[int(rng.integers(len(people)))]).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(mask)
    if width < 16 or height < 32:
        return None
    return _flipped(rng, photo.image[y : y + height, x : x + width], mask[y : y + height, x : x + width])


def _paste(rng: Generator, view: View, photo: Photo) -> None:
    """Paste one person of `photo` somewhere, with a soft seam; it hides what is behind it."""
    cut = _cut_out(rng, photo)
    if cut is None or view.ids.max() >= 250:
        return
    image, mask = cut
    size = view.ids.shape[0]
    height = int(size * _between(rng, 0.15, 1.1))
    width = max(4, int(height * image.shape[1] / image.shape[0] * _between(rng, 0.8, 1.25)))
    image = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    )
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    left = int(rng.integers(-width // 3, max(size - 2 * width // 3, 1)))
    top = int(rng.integers(-height // 4, max(size - 3 * height // 4, 1)))
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
    image = image[y1 - top : y2 - top, x1 - left : x2 - left]
    mask = mask[y1 - top : y2 - top, x1 - left : x2 - left]
    area = view.image[y1:y2, x1:x2]
    alpha = cv2.GaussianBlur(mask, (3, 3), 0)[:, :, None].astype(np.float32) / 255
    view.image[y1:y2, x1:x2] = (image * alpha + area * (1 - alpha)).astype(np.uint8)
    view.ids[y1:y2, x1:x2][mask > 127] = int(view.ids.max()) + 1


def _colours(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Brightness, contrast, tint, saturation, grey; blur, noise."""
    x = image.astype(np.float32)
    if rng.random() < 0.8:
        x = (x - 128) * _between(rng, 0.65, 1.5) + 128 + rng.uniform(-35, 35)
        x = x * np.exp(rng.uniform(-0.15, 0.15, 3)).astype(np.float32)
    grey = x.mean(2, keepdims=True)
    if rng.random() < 0.1:
        x = np.repeat(grey, 3, 2)
    elif rng.random() < 0.5:
        x = grey + (x - grey) * _between(rng, 0.4, 1.7)
    if rng.random() < 0.1:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.1:
        x = x + rng.normal(0, rng.uniform(2, 10), x.shape).astype(np.float32)
    return np.clip(x, 0, 255).astype(np.uint8)


def random_view(rng: Generator, photos: list[Photo], photo: Photo, size: int) -> View:
    """Return one training view of `photo`; `photos` lend their people, and themselves for mosaics."""
    if rng.random() < MOSAIC:
        view = _mosaic(rng, [photo, *(photos[int(i)] for i in rng.integers(len(photos), size=3))], size)
    else:
        view = View(*_lay(rng, photo, size, size))
    before = np.bincount(view.ids.ravel(), minlength=256)
    if rng.random() < PASTE:
        for _ in range(int(rng.integers(1, MAX_PASTED + 1))):
            _paste(rng, view, photos[int(rng.integers(len(photos)))])
    after = np.bincount(view.ids.ravel(), minlength=256)
    for i in (int(i) for i in np.flatnonzero(after) if i):
        if after[i] < MIN_PIXELS or after[i] < MIN_VISIBLE * before[i]:
            view.ignored.add(i)
    view.image = _colours(rng, view.image)
    return view
