"""The structure of WebP files: a chain of RIFF chunks (RFC 9649).

The decoder checks the pixels: it refuses a stream that ends early. What stands behind the container does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskserve.decoding.formats import Outline
from maskserve.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_TRUNCATED = "the WebP is truncated"
# Coded pixels are dense: so many zeros at their end are the hole that an interrupted download left.
_HOLE = bytes(1024)


def walk(content: bytes) -> Outline:
    """Walk the chunks of a WebP file.

    A file that is cut behind its pixels, in its metadata, loses the rest of those.

    Raises:
        InvalidImage: it is cut, or has no pixels.
    """
    announced = 8 + int.from_bytes(content[4:8], "little")
    size, pixels, end = None, False, 12
    for name, first, last in _chunks(content, min(announced, len(content))):
        size = size or _size(name, content[first : first + 16])
        if name in _PIXELS:
            if last > len(content):
                raise InvalidImage(f"{_TRUNCATED}: it ends inside its pixels")
            if content.endswith(_HOLE, first, last):
                raise InvalidImage(f"{_TRUNCATED}: zeros stand where pixels should")
            pixels = True
        if last <= len(content):
            end = last
    if size is None or not pixels:
        raise InvalidImage(f"{_TRUNCATED}: it has no pixels")
    return Outline(*size, content if announced <= len(content) else _closed(content[:end]))


def _closed(content: bytes) -> bytes:
    """Return a container whose header says how long it is."""
    content += b"\0" * (len(content) % 2)
    return content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:]


def _chunks(content: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk, and where its body begins and should end."""
    position = 12
    while position + 8 <= end:
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        first = position + 8
        yield content[position : position + 4], first, first + length
        position = first + length + length % 2


def _size(name: bytes, body: bytes) -> tuple[int, int] | None:
    """Return width and height where a chunk says them."""
    if name == b"VP8X" and len(body) >= 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if name == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
