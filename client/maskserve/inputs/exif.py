"""The orientation that a camera wrote into an image file, and turning the pixels by it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from maskserve.inputs.formats import format_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_ORIENTATION = 0x0112
_HEADER = b"Exif\0\0"
_SOS, _EOI = 0xDA, 0xD9


def orientation_of(content: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of a JPEG, PNG or WebP file; 1 where it has none.

    TIFF files have it among their own tags, and decoders of TIFF turn the pixels themselves. XMP is not asked: no
    decoder that PaddleX uses does.
    """
    kind = format_of(content)
    if kind == "JPEG":
        found = (body[6:] for marker, body in jpeg_segments(content) if marker == 0xE1 and body.startswith(_HEADER))
    elif kind == "PNG":
        found = (bytes(body) for name, body in _png_chunks(memoryview(content)) if name == b"eXIf")
    elif kind == "WEBP":
        found = (bytes(body) for name, body in _riff_chunks(memoryview(content)) if name == b"EXIF")
    else:
        return 1
    return next((value for value in map(exif_orientation, found) if value), 1)


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, in the bytes of an EXIF block; 0 where there is none that makes sense."""
    exif = exif.removeprefix(_HEADER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for index in range(count):
            tag, kind, number = struct.unpack_from(f"{order}HHI", exif, start + 2 + 12 * index)
            if tag == _ORIENTATION and kind == 3 and number == 1:
                (value,) = struct.unpack_from(f"{order}H", exif, start + 10 + 12 * index)
                return int(value) if 1 <= value <= 8 else 0
    except struct.error:
        pass
    return 0


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return [h, w, ...] pixels, stored in an orientation of 1 to 8, as they are to be seen, in C order."""
    return np.ascontiguousarray(turned_view(pixels, orientation))


def turned_view(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return what `turned` does, as a view of `pixels`."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of each segment in front of the first scan of a JPEG file."""
    position = 2
    while (position := content.find(b"\xff", position)) >= 0:
        while content[position : position + 1] == b"\xff":  # any number of them may stand in front of a marker
            position += 1
        marker = content[position] if position < len(content) else _EOI
        position += 1
        if marker in (_SOS, _EOI):
            return
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # markers without a segment
            continue
        length = int.from_bytes(content[position : position + 2], "big")
        yield marker, content[position + 2 : position + length]
        position += max(length, 2)


def _png_chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 8
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        yield bytes(content[position + 4 : position + 8]), content[position + 8 : position + 8 + length]
        position += 12 + length


def _riff_chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 12
    while position + 8 <= len(content):
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        yield bytes(content[position : position + 4]), content[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
