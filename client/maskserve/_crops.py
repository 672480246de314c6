"""The `masks` of a result: PaddleX's list of box crops, decoded as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.masks import Mask


class MaskCrops(Sequence["NDArray[np.uint8]"]):
    """A sequence of [h, w] uint8 arrays of 0 and 1, each the mask inside its instance's box."""

    __slots__ = ("_masks",)

    def __init__(self, masks: tuple[Mask, ...]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.uint8]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        if isinstance(index, slice):
            return [mask.crop() for mask in self._masks[index]]
        return self._masks[index].crop()

    def __eq__(self, other: object) -> bool:
        return self._masks == other._masks if isinstance(other, MaskCrops) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list

    def __repr__(self) -> str:
        return f"<{len(self)} masks>"
