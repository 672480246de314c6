"""The compiled library, where there is one: how it is loaded and called."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from maskserve_server.painting.compiled import build

if TYPE_CHECKING:
    from maskserve_server.painting.axes import Line
    from maskserve_server.painting.codes import Integers

ONCE, TWICE, PASTED = range(3)
SWITCH = "MASKSERVE_COMPILED_PAINTING"
_NO_MEMORY = "there is no memory left to compute a mask in"
_ROOM = 8  # characters of a run in COCO's string: seven are enough for any image


class CLine(ctypes.Structure):
    """`Line` in mask.h."""

    _fields_ = (("near", ctypes.c_void_p), ("far", ctypes.c_void_p), ("weight", ctypes.c_void_p))


class CMask(ctypes.Structure):
    """`Mask` in mask.h, which says what the fields are."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("samples", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("height", "width", "stride", "top", "left")),
        *((name, CLine) for name in ("rows", "columns", "first_rows", "first_columns")),
        ("crop", ctypes.c_int64 * 4),
        ("window", ctypes.c_int64 * 4),
        ("box", ctypes.c_float * 4),
        ("threshold", ctypes.c_double),
        ("weights", ctypes.c_void_p),
        ("planes", ctypes.c_int64),
        ("plane", ctypes.c_int64),
        ("bounds", ctypes.c_float * 2),
        ("sums", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    )


class Library:
    """The functions of a compiled library."""

    def __init__(self, path: str) -> None:
        """Load it.

        Raises:
            OSError: it cannot be loaded, or was made of other sources.
        """
        self._library = ctypes.CDLL(path)
        self._library.maskserve_digest.restype = ctypes.c_uint32
        if self._library.maskserve_digest() != build.digest():
            raise OSError(f"{path} was made of other sources; compile it anew: python -m {build.__name__}")
        self._sum = self._library.maskserve_sum
        self._sum.argtypes, self._sum.restype = [ctypes.c_void_p, ctypes.c_int64], ctypes.c_int
        self._paint = self._library.maskserve_paint
        self._paint.argtypes, self._paint.restype = [ctypes.c_void_p], ctypes.c_int
        self._release = self._library.maskserve_release
        self._release.argtypes, self._release.restype = [ctypes.c_void_p], None
        self._encode = self._library.maskserve_encode
        self._encode.argtypes, self._encode.restype = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p], ctypes.c_int64

    def runs(self, mask: CMask) -> Integers:
        """Return the run lengths of a mask, int64 [R], background first; what the mask points to must be alive.

        Raises:
            MemoryError: there is not enough.
        """
        address = ctypes.addressof(mask)
        try:
            if not self._paint(address):
                raise MemoryError(_NO_MEMORY)
            return np.frombuffer(ctypes.string_at(mask.runs, 8 * mask.count), np.int64)
        finally:
            self._release(address)

    def runs_of_each(self, masks: ctypes.Array[CMask]) -> list[Integers]:
        """Return the run lengths of an image's masks, see `runs`; where they have planes, these are summed first.

        Raises:
            MemoryError: there is not enough.
        """
        try:
            if not self._sum(ctypes.addressof(masks), len(masks)):
                raise MemoryError(_NO_MEMORY)
            return [self.runs(mask) for mask in masks]
        finally:
            for mask in masks:
                self._release(ctypes.addressof(mask))

    def encode(self, runs: Integers) -> bytes:
        """Return COCO's compressed counts of run lengths."""
        runs = np.ascontiguousarray(runs, np.int64)
        text = ctypes.create_string_buffer(_ROOM * len(runs))
        return ctypes.string_at(text, self._encode(runs.ctypes.data, len(runs), text))


def line(pixels: Line) -> CLine:
    """Return what C reads of the pixels of an axis, which must be alive as long; its arrays are contiguous."""
    return CLine(pixels.near.ctypes.data, pixels.far.ctypes.data, pixels.weight.ctypes.data)


@lru_cache(maxsize=1)
def loaded() -> Library | None:
    """Return the library of this system; None where there is none, or MASKSERVE_COMPILED_PAINTING is 0."""
    return None if is_switched_off() else _found()[0]


def is_switched_off() -> bool:
    """Tell whether MASKSERVE_COMPILED_PAINTING is 0."""
    return os.environ.get(SWITCH) == "0"


def why_missing() -> str:
    """Return why the library of this system cannot be used, for people; "" where it can be."""
    return _found()[1]


def _found() -> tuple[Library | None, str]:
    """Return the library; where there is none, numpy has the same pixels, and the text says why."""
    path = build.LIBRARIES / build.name()
    if not path.is_file():
        return None, f"there is no {path}"
    try:
        return Library(str(path)), ""
    except OSError as error:  # of another C library, or of other sources
        return None, str(error)
    except AttributeError:
        return None, f"{path} is not a library of masks"
