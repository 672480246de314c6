"""The structure of PNG files: a chain of chunks (PNG, third edition, section 5).

The decoder checks the pixels itself: it refuses a stream that ends early or whose check sum is wrong.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from maskserve.decoding.formats import Outline
from maskserve.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE_BYTES = 8
_END = b"\0\0\0\0IEND\xaeB`\x82"
# An animation's further images: the decoder needs none of them, and OpenCV's crashes on damaged ones.
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})


def walk(content: bytes) -> Outline:
    """Walk the chunks of a PNG file.

    Whatever stands behind the end chunk is left out. A file that is cut behind its pixels gets an end chunk.

    Raises:
        InvalidImage: it is cut in its pixels, or has none.
    """
    width, height = _size(content)
    parts: list[bytes] = []
    start, pixels, ending = 0, False, _END
    for name, first, last in _chunks(content):
        if last > len(content):
            if name == b"IDAT" or not pixels:
                raise InvalidImage("the PNG is truncated: it ends inside a chunk")
            break
        if name in _ANIMATION:
            parts.append(content[start:first])
            start = last
        pixels |= name == b"IDAT"
        end = last
        if name == b"IEND":
            ending = b""
            break
    if not pixels:
        raise InvalidImage("the PNG has no pixels")
    if not parts and not ending and end == len(content):
        return Outline(width, height, content)
    return Outline(width, height, b"".join([*parts, content[start:end], ending]))


def _size(content: bytes) -> tuple[int, int]:
    header = content[_SIGNATURE_BYTES : _SIGNATURE_BYTES + 16]
    if len(header) < 16 or header[4:8] != b"IHDR":
        raise InvalidImage("the PNG's header is damaged")
    width, height = struct.unpack(">II", header[8:])
    if not (width and height):
        raise InvalidImage(f"the PNG's header is damaged: it says {width}x{height} pixels")
    return width, height


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk, and where it begins and should end; names are letters, anything else is none."""
    position = _SIGNATURE_BYTES
    while (name := content[position + 4 : position + 8]).isalpha():
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        yield name, position, end
        position = end
