"""Pixels in memory that a decoder's process and its parent share: nameless, and sealed against changes of its size.

A decoder writes and its parent reads. Seals matter: a process that reads memory which another one has cut short dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_BYTES = 64 << 20  # memory up to this size is kept for the next image
_SMALLEST = 4 << 20
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class WrittenPixels:
    """The decoder's side: memory for one image at a time, larger where an image needs more."""

    def __init__(self) -> None:
        self.descriptor = -1
        self.size = 0
        self.new = False  # the parent does not have it yet
        self._pixels: NDArray[np.uint8] | None = None

    def allocate(self, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Return memory for [height, width, 3] pixels; it takes the place of what was returned before."""
        count = shape[0] * shape[1] * shape[2]
        if self._pixels is None or count > self.size:
            self.drop()
            size = max(_SMALLEST, -(-count // mmap.PAGESIZE) * mmap.PAGESIZE)
            descriptor = os.memfd_create("maskserve-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.ftruncate(descriptor, size)
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
                self._pixels = np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
            except BaseException:
                os.close(descriptor)
                raise
            self.descriptor, self.size, self.new = descriptor, size, True
        return self._pixels[:count].reshape(shape)

    def holds(self, pixels: NDArray[np.uint8]) -> bool:
        """Return whether `pixels` are at the beginning of this memory, row by row."""
        if self._pixels is None or not pixels.flags.c_contiguous:
            return False
        return bool(pixels.__array_interface__["data"][0] == self._pixels.__array_interface__["data"][0])

    def drop(self) -> None:
        """Give the memory back, as far as it is this process's to give."""
        self._pixels = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor, self.size = -1, 0


def read_pixels(descriptor: int) -> NDArray[np.uint8]:
    """Return what a decoder has written, mapped read-only; the descriptor is closed.

    Raises:
        ValueError: the memory is not sealed.
    """
    try:
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ValueError("a decoder sent memory that can change its size")
        size = os.fstat(descriptor).st_size
        return np.frombuffer(mmap.mmap(descriptor, size, prot=mmap.PROT_READ), np.uint8)
    finally:
        os.close(descriptor)
