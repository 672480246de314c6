"""Masks as run lengths of a crop: encoding, decoding, and the `Mask` value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco

from maskserve import rle as _rle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def encode_crop(crop: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """Return the compressed COCO run lengths of a mask.

    Args:
        crop: [h, w] uint8 or bool; everything but zero is foreground. Column-major (Fortran) memory is used as it is,
            any other is copied once.

    Returns:
        the ``counts`` of a COCO RLE of size [h, w]; ``b""`` when the crop has no pixels.
    """
    if crop.size == 0:
        return b""
    pixels = crop.view(np.uint8) if crop.dtype == np.bool_ else crop
    if pixels.max() > 1:
        pixels = (pixels != 0).view(np.uint8)
    counts: bytes = coco.encode(np.asfortranarray(pixels)[:, :, None])[0]["counts"]
    return counts


def decode_crop(counts: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Return the mask that `encode_crop` was given.

    Args:
        counts: compressed COCO run lengths; they may come from anywhere, they are checked first.
        height: height of the mask in pixels.
        width: width of the mask in pixels.

    Returns:
        [height, width] uint8 of 0 and 1, column-major.

    Raises:
        ValueError: the counts are malformed, or are of a mask with another number of pixels.
    """
    runs = _checked_runs(counts, height, width)
    return _rle.inside(np.cumsum(runs)).reshape((height, width), order="F")


def check_counts(counts: bytes, height: int, width: int) -> None:
    """Make sure that `counts` are of a mask of that size, without painting it.

    Raises:
        ValueError: the counts are malformed, or are of a mask with another number of pixels.
    """
    _checked_runs(counts, height, width)


def _checked_runs(counts: bytes, height: int, width: int) -> NDArray[np.int64]:
    runs = _rle.parse_counts(counts)
    pixels = int(runs.sum())
    if pixels != height * width:
        raise ValueError(f"run lengths of {pixels} pixels for a mask of {height}x{width}")
    return runs


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One instance's mask: run lengths inside a window of the image. Two masks are equal when their pixels are.

    Attributes:
        counts: compressed COCO run lengths of the window.
        box: x, y, width, height of the window in pixels; outside of it there is only background.
        size: height and width of the whole image.
    """

    counts: bytes
    box: tuple[int, int, int, int]
    size: tuple[int, int]

    @classmethod
    def from_crop(cls, crop: NDArray[Any], x: int, y: int, size: tuple[int, int]) -> Mask:
        """Make a mask from `crop` ([h, w], non-zero is foreground) at `x`, `y` of an image of `size` (height, width).

        Raises:
            ValueError: the crop does not lie inside the image.
        """
        height, width = crop.shape
        if x < 0 or y < 0 or x + width > size[1] or y + height > size[0]:
            raise ValueError(f"a crop of {height}x{width} at x={x}, y={y} leaves the image of {size[0]}x{size[1]}")
        return cls(encode_crop(np.asarray(crop != 0)), (x, y, width, height), size)

    @classmethod
    def encode(cls, pixels: NDArray[Any]) -> Mask:
        """Encode the mask of a whole image, [height, width]; non-zero is foreground. Its window is the tightest."""
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        if rows.size == 0:
            return cls(b"", (0, 0, 0, 0), (pixels.shape[0], pixels.shape[1]))
        y, x = int(rows[0]), int(columns[0])
        crop = pixels[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1]
        return cls.from_crop(crop, x, y, (pixels.shape[0], pixels.shape[1]))

    def crop(self) -> NDArray[np.uint8]:
        """Return the window's pixels, [h, w] uint8 of 0 and 1.

        Raises:
            ValueError: the run lengths are not of the window's size.
        """
        return decode_crop(self.counts, self.box[3], self.box[2])

    def decode(self) -> NDArray[np.uint8]:
        """Return the whole image's pixels, [height, width] uint8 of 0 and 1."""
        x, y, width, height = self.box
        pixels = np.zeros(self.size, np.uint8)
        pixels[y : y + height, x : x + width] = self.crop()
        return pixels

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(_rle.parse_counts(self.counts)[1::2].sum())

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the smallest window that holds the foreground; all 0 when there is none."""
        starts, ends = _rle.intervals(_rle.parse_counts(self.counts))
        if starts.size == 0:
            return (0, 0, 0, 0)
        x, y, _, height = self.box
        top, bottom = _rle.row_extent(starts, ends, height)
        left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height
        return (x + left, y + top, right - left + 1, bottom - top + 1)

    def to_coco(self) -> dict[str, Any]:
        """Return COCO's compressed RLE of the whole image, ``{"size": [height, width], "counts": str}``.

        Computed from the runs of the window; the image is never painted.
        """
        runs = _rle.place(_rle.parse_counts(self.counts), self.box, self.size)
        return {"size": list(self.size), "counts": _rle.format_counts(runs).decode("ascii")}

    @classmethod
    def from_coco(cls, rle: Mapping[str, Any]) -> Mask:
        """Make a mask from a COCO RLE of a whole image, compressed (text or bytes) or not (a list).

        Raises:
            ValueError: the run lengths are damaged or are of another size.
        """
        height, width = map(int, rle["size"])
        counts = rle["counts"]
        if isinstance(counts, str | bytes):
            text = counts.encode("ascii") if isinstance(counts, str) else counts
        else:
            text = _rle.format_counts(np.array(counts, np.int64))
        return cls.encode(decode_crop(text, height, width))

    def polygons(self) -> list[NDArray[np.int64]]:
        """Return the outlines along pixel edges: clockwise around foreground, counter-clockwise around holes.

        The signed areas inside sum up to `area`, exactly. Pixels that touch at a corner only have one outline together,
        which passes this corner twice; holes that touch at a corner have an outline each.

        Returns:
            arrays [N, 2] of x, y in the image, from (0, 0) to (width, height).
        """
        from maskserve.exports.polygons import outlines

        return [outline + np.array(self.box[:2]) for outline in outlines(self.crop())]

    def iou(self, other: Mask) -> float:
        """Return the intersection over union; 0 when both are empty."""
        union = (self | other).area
        return (self & other).area / union if union else 0.0

    def __and__(self, other: Mask) -> Mask:
        return _combined(np.logical_and, self, other)

    def __or__(self, other: Mask) -> Mask:
        return _combined(np.logical_or, self, other)

    def __xor__(self, other: Mask) -> Mask:
        return _combined(np.logical_xor, self, other)

    def __sub__(self, other: Mask) -> Mask:
        return _combined(np.greater, self, other)

    def __bool__(self) -> bool:
        return self.area > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        if (self.counts, self.box, self.size) == (other.counts, other.box, other.size):
            return True
        return self.size == other.size and self.to_coco() == other.to_coco()

    def __hash__(self) -> int:
        return hash((self.size, self.area))


def _combined(operation: np.ufunc, first: Mask, second: Mask) -> Mask:
    """Return a set operation, painted in the smallest window that holds both masks.

    Raises:
        ValueError: the masks are of images of different sizes.
    """
    if first.size != second.size:
        raise ValueError(f"masks of images of different sizes: {first.size} and {second.size}")
    boxes = [mask.box for mask in (first, second) if mask.box[2] and mask.box[3]]
    if not boxes:
        return first
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    width = max(box[0] + box[2] for box in boxes) - left
    height = max(box[1] + box[3] for box in boxes) - top
    window = (left, top, width, height)
    pixels = operation(_painted(first, window), _painted(second, window))
    return Mask(encode_crop(pixels), window, first.size)


def _painted(mask: Mask, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    left, top, width, height = window
    x, y, own_width, own_height = mask.box
    pixels = np.zeros((height, width), bool, order="F")
    if own_width and own_height:
        pixels[y - top :, x - left :][:own_height, :own_width] = mask.crop()
    return pixels
