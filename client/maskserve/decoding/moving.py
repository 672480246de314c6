"""Move a large image from memory of this process to where it is wanted, without taking its memory twice."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import TYPE_CHECKING

import numpy as np

from maskserve.inputs.exif import turned_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGE = 16 << 20  # bytes; the memory of smaller images is not worth the system calls
_STRIP = 4 << 20  # bytes that are taken twice
_MADV_DONTNEED = 4
_BACK = {6: 8, 8: 6}  # each other orientation undoes itself


def move(source: NDArray[np.uint8], target: NDArray[np.uint8], orientation: int = 1) -> None:
    """Copy an image, and give the kernel back the memory of what is copied.

    Args:
        source: uint8 [h, w, 3], in C order; what it holds afterwards is not defined.
        target: uint8 of the size that the image has when it is turned.
        orientation: 1 to 8, by which the image is turned on the way.
    """
    turned_back = turned_view(target, _BACK.get(orientation, orientation))
    rows = max(_STRIP // max(source[:1].nbytes, 1), 1)
    for first in range(0, len(source), rows):
        strip = source[first : first + rows]
        np.copyto(turned_back[first : first + rows], strip)
        if source.nbytes > _LARGE and source.flags.owndata:
            _give_back(strip)


def _give_back(memory: NDArray[np.uint8]) -> None:
    """Tell the kernel that the pages inside an array are not needed any more."""
    if sys.platform != "linux" or not memory.flags.c_contiguous:
        return
    begin = memory.__array_interface__["data"][0]
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (begin + memory.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_DONTNEED)
