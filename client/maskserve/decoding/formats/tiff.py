"""The structure of TIFF files: the first directory, and whether its strips or tiles are in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskserve.decoding.formats import Outline
from maskserve.errors import InvalidImage, UnsupportedFormat
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.formats import refusal_of
from maskserve.inputs.tiff import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRUNCATED = "the TIFF is truncated"
_SMALLEST_OFFSET = 8
_MAX_OVERLAP = 4  # some writers store equal tiles once


def walk(content: bytes) -> tuple[Outline, Directory]:
    """Walk the first directory of a TIFF file, and the strips or tiles that it names.

    Raises:
        InvalidImage: it is cut, or makes no sense.
        UnsupportedFormat: it is a camera's raw file.
    """
    directory = _tiff.first_directory(content)
    if directory.is_raw:
        raise UnsupportedFormat(refusal_of("camera raw"))
    width, height = directory.number(_tiff.WIDTH), directory.number(_tiff.HEIGHT)
    if not (width and height):
        raise InvalidImage(f"the TIFF's directory is damaged: it says {width}x{height} pixels")
    _check_segments(directory, len(content))
    return Outline(width, height, content), directory


def segments(directory: Directory) -> Iterator[bytes]:
    """Yield the strips or tiles of a directory that was walked."""
    places, lengths = (directory.numbers(tag).tolist() for tag in directory.segments())
    for start, length in zip(places, lengths, strict=False):
        yield directory.content[start : start + length]


def _check_segments(directory: Directory, size: int) -> None:
    places, lengths = (directory.numbers(tag) for tag in directory.segments())
    if not places.size:
        raise InvalidImage(f"{_TRUNCATED}: it has no pixels")
    if places.min() < _SMALLEST_OFFSET or places.max() >= size:
        raise InvalidImage(f"{_TRUNCATED}: pixels are missing")
    # Of pixels that are not compressed, libtiff knows better how many bytes there must be than some writers.
    if directory.number(_tiff.COMPRESSION, 1) != 1 and lengths.size == places.size:
        if not _tiff.within(places, lengths, size):
            raise InvalidImage(f"{_TRUNCATED}: pixels are missing")
        if int(lengths.sum()) > _MAX_OVERLAP * size:
            raise InvalidImage("the TIFF is damaged: its pixels are stored on top of one another")
