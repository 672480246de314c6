"""The structure of BMP files: two headers and rows of pixels. The decoder refuses a file that has too few of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from maskserve.decoding.formats import Outline
from maskserve.errors import InvalidImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILE_HEADER_BYTES = 14
_OS2_HEADER_BYTES = 12
_PLAIN_HEADERS = (40, 108, 124)  # Windows' header and its later versions
_PLAIN = (1, 24, 0)  # planes, bits, compression: none


def walk(content: bytes) -> Outline:
    """Read the size in a BMP file's header.

    Raises:
        InvalidImage: the header is cut, or makes no sense.
    """
    try:
        (header,) = struct.unpack_from("<I", content, _FILE_HEADER_BYTES)
        fields = "<HH" if header == _OS2_HEADER_BYTES else "<ii"
        width, height = struct.unpack_from(fields, content, _FILE_HEADER_BYTES + 4)
    except struct.error:
        raise InvalidImage("the BMP is truncated: it ends inside its header") from None
    if width <= 0 or height == 0:
        raise InvalidImage(f"the BMP's header is damaged: it says {width}x{height} pixels")
    return Outline(width, abs(height), content)  # negative: rows from top to bottom


def plain_pixels(content: bytes, outline: Outline) -> NDArray[np.uint8] | None:
    """Return the pixels of a BMP file that holds nothing but them, as arrays travel: it needs no decoder.

    Args:
        content: the file.
        outline: what `walk` made of it.

    Returns:
        uint8 [height, width, 3] BGR, a view of the file; None where a decoder is needed, or pixels are missing.
    """
    start, header, _, height, *kind = struct.unpack_from("<10xII iiHHI", content[:64].ljust(64))
    if header not in _PLAIN_HEADERS or tuple(kind) != _PLAIN or start < _FILE_HEADER_BYTES + header:
        return None
    stride = -(-3 * outline.width // 4) * 4
    if start + stride * outline.height > len(content):
        return None
    rows = np.frombuffer(content, np.uint8, stride * outline.height, start).reshape(outline.height, stride)
    pixels = rows[:, : 3 * outline.width].reshape(outline.height, outline.width, 3)
    return pixels if height < 0 else pixels[::-1]
