"""Changes to a sound file, each of them by a random generator that a seed gives."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

Random = np.random.Generator
# Numbers at which lengths and sizes break.
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xD09DC300, 0xFFFFFFFE, 0xFFFFFFFF)


def flip_bits(file: bytes, random: Random) -> bytes:
    """Flip one to sixteen bits."""
    changed = bytearray(file)
    for _ in range(int(random.integers(1, 17))):
        changed[random.integers(len(changed))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def flip_in_head(file: bytes, random: Random) -> bytes:
    """Change bytes among the first hundred: sizes, kinds, tables."""
    changed = bytearray(file)
    for _ in range(int(random.integers(1, 5))):
        changed[random.integers(min(100, len(changed)))] = int(random.integers(256))
    return bytes(changed)


def set_number(file: bytes, random: Random) -> bytes:
    """Write a number of two or four bytes at which lengths break, in either order."""
    form = str(random.choice(["<H", ">H", "<I", ">I"]))
    value = _EDGES[random.integers(len(_EDGES))] & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
    place = int(random.integers(max(1, len(file) - 4)))
    number = struct.pack(form, value)
    return file[:place] + number + file[place + len(number) :]


def cut(file: bytes, random: Random) -> bytes:
    """Keep the beginning."""
    return file[: random.integers(len(file))]


def drop(file: bytes, random: Random) -> bytes:
    """Leave a part out."""
    first, last = sorted(int(place) for place in random.integers(len(file), size=2))
    return file[:first] + file[last:]


def repeat(file: bytes, random: Random) -> bytes:
    """Repeat a part, up to a thousand times: tables, scans, chunks, directories."""
    first, last = sorted(int(place) for place in random.integers(len(file), size=2))
    part = file[first : first + min(last - first, 2000)]
    return file[:last] + part * int(random.choice([1, 2, 30, 1000])) + file[last:]


def scramble(file: bytes, random: Random) -> bytes:
    """Put noise over a part."""
    first = int(random.integers(len(file)))
    length = int(random.integers(1, 200))
    return file[:first] + random.bytes(length) + file[first + length :]


def splice(file: bytes, random: Random) -> bytes:
    """Let the end of the file stand at its beginning, behind its signature."""
    return file[:16] + file[random.integers(len(file)) :] + file[16:]


def mend_png(file: bytes, random: Random) -> bytes:
    """Change a PNG file and put its check sums right: what is wrong is seen by the decoder only."""
    changed, position = bytearray(flip_bits(file, random)), 8
    if not file.startswith(b"\x89PNG"):
        return bytes(changed)
    while position + 12 <= len(changed):
        (length,) = struct.unpack_from(">I", changed, position)
        end = position + 8 + length
        if end + 4 > len(changed):
            break
        struct.pack_into(">I", changed, end, zlib.crc32(changed[position + 4 : end]))
        position = end + 4
    return bytes(changed)


MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip_bits,
    flip_in_head,
    set_number,
    cut,
    drop,
    repeat,
    scramble,
    splice,
    mend_png,
)
