"""The `masks` of a result: PaddleX's list of box crops, decoded as they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from maskserve.masks import Mask, check_counts, encode_crop
from maskserve.paddlex.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from typing_extensions import Self

Coded = tuple[int, int, bytes]
"""Height, width and run lengths of a crop."""


class Crop:
    """One crop: run lengths until it is asked for, from then on an array, which may be edited in place."""

    __slots__ = ("_mask", "pixels_held")

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self.pixels_held: NDArray[np.uint8] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        height, width, counts = self.coded()
        x, y, *_ = self._mask.box
        return Crop, (type(self._mask)(counts, (x, y, width, height), self._mask.size),)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the crop, [h, w] uint8 of 0 and 1, always the same array."""
        if self.pixels_held is None:
            self.pixels_held = self._mask.crop()
        return self.pixels_held

    def coded(self) -> Coded:
        """Return the crop as it is now."""
        if self.pixels_held is not None:
            return coded(self.pixels_held)
        _, _, width, height = self._mask.box
        return height, width, self._mask.counts


class MaskCrops(MutableSequence[Any]):
    """A list of [h, w] uint8 arrays of 0 and 1, each the mask inside its instance's box.

    It is edited as a list is, and so are its arrays. A slice is decoded no earlier than its elements are asked for.
    """

    __slots__ = ("elements",)

    def __init__(self, elements: Iterable[Any]) -> None:
        self.elements: list[Any] = elements_of(elements)

    def __reduce__(self) -> tuple[Any, ...]:
        return MaskCrops, (self.elements,)

    def __len__(self) -> int:
        return len(self.elements)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> MaskCrops: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = self.elements[index]
        if isinstance(index, slice):
            return MaskCrops(found)
        return found.pixels() if isinstance(found, Crop) else found

    def __setitem__(self, index: int | slice, value: Any) -> None:
        self.elements[index] = elements_of(value) if isinstance(index, slice) else value

    def __delitem__(self, index: int | slice) -> None:
        del self.elements[index]

    def insert(self, index: int, value: Any) -> None:
        """Insert a crop before `index`."""
        self.elements.insert(index, value)

    def extend(self, values: Iterable[Any]) -> None:
        """Append crops."""
        self.elements.extend(elements_of(values))

    def reverse(self) -> None:
        """Reverse the order, in place."""
        self.elements.reverse()

    def sort(self, *, key: Callable[[Any], Any], reverse: bool = False) -> None:
        """Sort in place, by what `key` makes of each array."""
        order = sorted(range(len(self)), key=lambda index: key(self[index]), reverse=reverse)
        self.elements[:] = [self.elements[index] for index in order]

    def copy(self) -> MaskCrops:
        """Return another list of the same arrays."""
        return self[:]

    def __mul__(self, count: int) -> MaskCrops:
        return MaskCrops(self.elements * count)

    __rmul__ = __mul__

    def __imul__(self, count: int) -> Self:
        self.elements *= count
        return self

    def __add__(self, other: Iterable[Any]) -> MaskCrops:
        return MaskCrops([*self.elements, *elements_of(other)])

    def __radd__(self, other: Iterable[Any]) -> MaskCrops:
        return MaskCrops([*elements_of(other), *self.elements])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return same_crops(self, other)

    __hash__ = None  # type: ignore[assignment]  # like a list

    def __repr__(self) -> str:
        return f"<{len(self)} masks>"


def elements_of(masks: Iterable[Any]) -> list[Any]:
    """Return the elements of `masks`, those of `MaskCrops` as `Crop` values, without decoding any."""
    return list(masks.elements if isinstance(masks, MaskCrops) else masks)


def coded(crop: Any) -> Coded:
    """Return a crop as run lengths.

    Args:
        crop: a `Crop`, or what numpy makes an array [h, w] of numbers or bools; everything but zero is foreground. A
            `Mask` stands for its own crop, and a dict with `size` and `counts` for the run lengths that JSON has.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(crop, Crop):
        return crop.coded()
    if isinstance(crop, Mask):
        return crop.box[3], crop.box[2], crop.counts
    if isinstance(crop, Mapping):
        return _run_lengths(crop)
    pixels = np.asarray(crop)
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"it is {_kind(crop)}, not an array [h, w] of 0 and 1")
    if pixels.ndim != 2:
        raise ValueError(f"it has the shape {list(pixels.shape)}, not [h, w]")
    height, width = pixels.shape
    if pixels.dtype in (np.uint8, np.bool_):
        return height, width, encode_crop(pixels)
    return height, width, encode_crop(pixels != 0)


def _run_lengths(document: Mapping[Any, Any]) -> Coded:
    """Return the crop that JSON has as compressed run lengths.

    Raises:
        ValueError: they are damaged, or it is another dict.
    """
    size, counts = document.get("size"), document.get("counts")
    if isinstance(counts, str):
        counts = counts.encode("ascii", "replace")
    try:
        height, width = map(operator.index, size or ())
    except (TypeError, ValueError):
        height = width = -1
    if not isinstance(counts, bytes) or min(height, width) < 0:
        raise ValueError("it is a dict without the size and the counts of run lengths")
    check_counts(counts, height, width)
    return height, width, counts


def same_crops(first: Any, second: Any) -> bool:
    """Return whether two lists have the same crops, whatever their types."""
    one, two = elements_of(first), elements_of(second)
    return len(one) == len(two) and all(a is b or _same(a, b) for a, b in zip(one, two, strict=True))


def _same(first: Any, second: Any) -> bool:
    try:
        return coded(first) == coded(second)
    except (ValueError, TypeError):  # no crops
        return bool(plain(first, "", strict=False) == plain(second, "", strict=False))


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
