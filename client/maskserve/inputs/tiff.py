"""The structure of TIFF files (TIFF 6.0, BigTIFF): directories, and which of them are pages.

A directory is a page unless it says that it is a smaller copy of another one, or the mask of one: these are how
programs keep overviews and transparency, and nobody who looks at the file sees them as pages.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from maskserve.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 273, 277, 279, 324, 325
SAMPLE_FORMAT, JPEG_TABLES = 339, 347
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_REDUCED, _MASK = 1, 4  # bits of the new type
_OLD_REDUCED = 2
_OLD_JPEG = 6  # whose tags point at further data
_SUB_DIRECTORIES, _DNG_VERSION = 330, 50706
_POINTERS = frozenset({_SUB_DIRECTORIES, 34665, 34853, 40965})  # tags that point at further directories
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_MAX_ENTRIES = 100_000  # of all directories: a hostile file may have more than anybody could go through
_MAX_SEGMENTS = 1_000_000
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag of a directory: its number, type and count, and where its values are in the file."""

    tag: int
    kind: int
    count: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How numbers are stored: "<" or ">", and whether the file is a BigTIFF, with offsets of 8 bytes."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        """The code of an offset, for `struct`."""
        return self.order + ("Q" if self.big else "I")

    @property
    def entry(self) -> str:
        """The code of an entry without its value."""
        return self.order + ("HHQ" if self.big else "HHI")

    @property
    def number(self) -> str:
        """The code of the number of entries."""
        return self.order + ("Q" if self.big else "H")


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory, where it is in the file, and where the position of the next one is."""

    content: bytes
    layout: Layout
    position: int
    link: int
    entries: dict[int, Entry] = field(default_factory=dict)

    def data(self, tag: int) -> bytes:
        """Return the bytes under a tag; none where it is not there."""
        entry = self.entries.get(tag)
        return self.content[entry.start : entry.start + entry.length] if entry else b""

    def numbers(self, tag: int, default: Sequence[int] = ()) -> NDArray[np.int64]:
        """Return the whole numbers under a tag, or `default` where it is not there or holds others."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return np.array(default, np.int64)
        values = np.frombuffer(self.content, self.layout.order + _CODES[entry.kind], entry.count, entry.start)
        # numpy 2 compares no number with an array of a smaller type
        return np.minimum(values.astype(np.uint64), np.uint64(_LARGEST)).astype(np.int64)

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first number under a tag."""
        values = self.numbers(tag)
        return int(values[0]) if values.size else default

    @property
    def is_page(self) -> bool:
        """Whether it is neither a smaller copy nor a mask."""
        return not self.number(_NEW_SUBFILE_TYPE) & (_REDUCED | _MASK) and self.number(_SUBFILE_TYPE) != _OLD_REDUCED

    @property
    def is_raw(self) -> bool:
        """Whether it is the small preview in a camera's raw file (DNG, NEF, ...), whose pixels are elsewhere."""
        return _DNG_VERSION in self.entries or (not self.is_page and _SUB_DIRECTORIES in self.entries)

    def segments(self) -> tuple[int, int]:
        """Return the tags that hold where its strips or tiles are, and their lengths."""
        return (TILE_OFFSETS, TILE_COUNTS) if TILE_OFFSETS in self.entries else (STRIP_OFFSETS, STRIP_COUNTS)


def pages(content: bytes) -> list[Directory]:
    """Return the pages of a TIFF file; the first directory where no other is one; none where it is damaged."""
    found = list(directories(content))
    return [directory for directory in found if directory.is_page] or found[:1]


def count_pages(content: bytes) -> int:
    """Return the number of pages of a TIFF file; 1 for what is damaged, which the server refuses."""
    return max(len(pages(content)), 1)


def directories(content: bytes) -> Iterator[Directory]:
    """Yield the directories of a TIFF file in the order of their chain, up to the first that is damaged."""
    try:
        layout, position = _header(content)
        seen: set[int] = set()
        entries = 0
        while position and position not in seen and entries < _MAX_ENTRIES:
            seen.add(position)
            directory = _directory(content, layout, position)
            yield directory
            entries += 1 + len(directory.entries)
            (position,) = struct.unpack_from(layout.offset, content, directory.link)
    except (struct.error, OverflowError, InvalidImage):  # offsets of 8 bytes are larger than Python takes
        return


def first_directory(content: bytes) -> Directory:
    """Return the first directory of a TIFF file.

    Raises:
        InvalidImage: it is cut or damaged.
    """
    found = next(directories(content), None)
    if found is None:
        raise InvalidImage("the TIFF is truncated or damaged: its directory cannot be read")
    return found


def load_page(content: bytes, index: int) -> bytes:
    """Return page `index` (from 0) of a TIFF file as a TIFF file of its own.

    Raises:
        InvalidImage: there is no such page, or it is cut.
    """
    found = pages(content)
    if index == 0 and (not found or (len(found) == 1 and found[0].position == first_directory(content).position)):
        return content
    if index >= len(found):
        raise InvalidImage(f"page {index} of the TIFF file cannot be read: it has {len(found)}")
    return _alone(found[index], index)


def within(places: NDArray[np.int64], lengths: NDArray[np.int64], size: int) -> bool:
    """Return whether strips or tiles lie within a file of `size` bytes, however large their numbers are."""
    return int(places.max()) <= size and int(lengths.max()) <= size and int((places + lengths).max()) <= size


def _header(content: bytes) -> tuple[Layout, int]:
    order = {b"II": "<", b"MM": ">"}.get(content[:2], "<")
    big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    layout = Layout(order, big)
    return layout, struct.unpack_from(layout.offset, content, 8 if big else 4)[0]


def _directory(content: bytes, layout: Layout, position: int) -> Directory:
    (count,) = struct.unpack_from(layout.number, content, position)
    inline = struct.calcsize(layout.offset)
    size = struct.calcsize(layout.entry) + inline
    first = position + struct.calcsize(layout.number)
    link = first + count * size
    if link + inline > len(content) or count > _MAX_ENTRIES:
        raise InvalidImage("the TIFF is truncated: it ends inside its directory")
    entries = {}
    for place in range(first, link, size):
        tag, kind, number = struct.unpack_from(layout.entry, content, place)
        length = number * _SIZES.get(kind, 0)
        value = place + size - inline
        start = struct.unpack_from(layout.offset, content, value)[0] if length > inline else value
        if length and start + length <= len(content):
            entries[tag] = Entry(tag, kind, number, start, length)
    return Directory(content, layout, position, link, entries)


def _alone(page: Directory, index: int) -> bytes:
    """Return a file with one page of another: its directory, and the strips or tiles that this points at."""
    content, layout = page.content, page.layout
    places_tag, lengths_tag = page.segments()
    places, lengths = page.numbers(places_tag), page.numbers(lengths_tag)
    entries = {tag: entry for tag, entry in page.entries.items() if tag not in _POINTERS}
    fits = 0 < places.size == lengths.size <= _MAX_SEGMENTS and page.number(COMPRESSION) != _OLD_JPEG
    if fits and not within(places, lengths, len(content)):
        raise InvalidImage(f"page {index} of the TIFF file is truncated")
    if not fits or int(lengths.sum()) + sum(entry.length for entry in entries.values()) > len(content):
        return _pointed_at(page)
    body = bytearray(content[: 16 if layout.big else 8])
    moved = []
    for place, length in zip(places.tolist(), lengths.tolist(), strict=True):
        moved.append(len(body))
        body += content[place : place + length] + b"\0" * (length % 2)
    values = {tag: (entry.kind, entry.count, page.data(tag)) for tag, entry in entries.items()}
    values[places_tag] = (16, len(moved), np.array(moved, layout.order + "u8").tobytes())
    if not layout.big:
        values[places_tag] = (4, len(moved), np.array(moved, layout.order + "u4").tobytes())
    return _written(body, layout, values)


def _written(body: bytearray, layout: Layout, values: dict[int, tuple[int, int, bytes]]) -> bytes:
    """Return a file of a header and data, and a directory behind them."""
    inline = struct.calcsize(layout.offset)
    table = bytearray(struct.pack(layout.number, len(values)))
    for tag, (kind, count, data) in sorted(values.items()):
        table += struct.pack(layout.entry, tag, kind, count)
        if len(data) <= inline:
            table += data.ljust(inline, b"\0")
        else:
            table += struct.pack(layout.offset, len(body))
            body += data + b"\0" * (len(data) % 2)
    struct.pack_into(layout.offset, body, 8 if layout.big else 4, len(body))
    return bytes(body + table + b"\0" * inline)


def _pointed_at(page: Directory) -> bytes:
    """Return the whole file, whose header points at one page and whose chain ends there."""
    layout = page.layout
    file = bytearray(page.content)
    struct.pack_into(layout.offset, file, 8 if layout.big else 4, page.position)
    struct.pack_into(layout.offset, file, page.link, 0)
    return bytes(file)
