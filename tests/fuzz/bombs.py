"""Files that are small and ask for much: memory, time, or both. Each by a random generator that a seed gives."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image

from tests.fuzz.seeds import seeds

Random = np.random.Generator
T = TypeVar("T")
_MOST_BYTES = 64 << 20  # what Triton takes over HTTP
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _one(random: Random, *options: T) -> T:
    return options[random.integers(len(options))]


def _chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body) if length is None else length)
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body))
    )


def png_size(random: Random) -> bytes:
    """Announce any size, with a stream of zeros that may even be long enough."""
    width, height = (int(2 ** random.uniform(0, 31)) for _ in range(2))
    depth, colour = int(random.choice([1, 2, 4, 8, 16])), int(random.choice([0, 2, 3, 4, 6]))
    rows = zlib.compress(bytes(min(int(2 ** random.uniform(0, 26)), 3 * width * height + height)), 9)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(random.integers(2)))
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return _SIGNATURE + _chunk(b"IHDR", head) + palette + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def png_chunks(random: Random) -> bytes:
    """Announce chunks of any length, or bring thousands: text that unfolds to much, profiles, empty ones."""
    file = seeds("PNG")[1]
    name = _one(random, b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"fdAT", b"acTL", b"PLTE", b"IDAT", b"aaAa")
    body = _one(random, b"", b"a\0\0", b"a\0\0" + zlib.compress(bytes(10_000_000), 9))
    if random.integers(2):
        return file[:33] + _chunk(name, body, int(2 ** random.uniform(0, 32)) & 0xFFFFFFFF) + file[33:]
    return file[:33] + _chunk(name, body) * int(random.choice([1, 100, 20_000 if len(body) < 99 else 50])) + file[33:]


def jpeg_size(random: Random) -> bytes:
    """Announce another size than the data have."""
    file = bytearray(seeds("JPEG")[random.integers(len(seeds("JPEG")))])
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        if (place := file.find(marker)) > 0:
            struct.pack_into(">HH", file, place + 5, *(int(2 ** random.uniform(0, 16)) & 0xFFFF for _ in range(2)))
    return bytes(file)


def jpeg_scans(random: Random) -> bytes:
    """Repeat the last scan of a large image: each visits all pixels and is a few bytes."""
    side, mode = int(2 ** random.uniform(4, 13)), str(random.choice(["RGB", "L"]))
    file = io.BytesIO()
    Image.new(mode, (side, side), 77).save(file, "JPEG", progressive=bool(random.integers(2)))
    content = file.getvalue()
    scan = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + scan * min(int(2 ** random.uniform(0, 11)), _MOST_BYTES // len(scan)) + content[-2:]


def jpeg_segments(random: Random) -> bytes:
    """Bring thousands of segments: tables, comments, restarts, fill bytes."""
    file = seeds("JPEG")[random.integers(len(seeds("JPEG")))]
    table = b"\xff\xdb\0\x43\0" + b"\1" * 64
    part = _one(random, b"\xff\xfe\0\x02", table, b"\xff\xd0", b"\xff", b"\xff\xdd\0\4\0\1")
    return file[:2] + part * int(2 ** random.uniform(0, 19)) + file[2:]


def webp_size(random: Random) -> bytes:
    """Announce another canvas."""
    file = bytearray(seeds("WEBP")[random.integers(len(seeds("WEBP")))])
    place = 24 if file[12:16] == b"VP8X" else 21 if file[12:16] == b"VP8L" else 26
    file[place : place + 6] = random.bytes(6)
    return bytes(file)


def webp_frames(random: Random) -> bytes:
    """Repeat the frames of an animation."""
    file = next(file for file in seeds("WEBP") if b"ANMF" in file)
    start = file.index(b"ANMF")
    body = file[12:start] + file[start:] * int(2 ** random.uniform(0, 12))
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp_size(random: Random) -> bytes:
    """Announce any size, depth and compression."""
    file = bytearray(seeds("BMP")[random.integers(len(seeds("BMP")))])
    width, height = (int(random.choice([-1, 1]) * 2 ** random.uniform(0, 31)) for _ in range(2))
    struct.pack_into("<ii", file, 18, max(-(2**31), min(width, 2**31 - 1)), max(-(2**31), min(height, 2**31 - 1)))
    if random.integers(2):
        depths = [0, 1, 4, 8, 16, 24, 32]
        struct.pack_into("<HI", file, 28, int(random.choice(depths)), int(random.integers(0, 7)))
    return bytes(file)


def tiff_tags(random: Random) -> bytes:
    """Change numbers of the first directory: sizes, counts, offsets, kinds of compression."""
    file = bytearray(seeds("TIFF")[random.integers(len(seeds("TIFF")))])
    (start,) = struct.unpack_from("<I", file, 4)
    (count,) = struct.unpack_from("<H", file, start)
    for _ in range(int(random.integers(1, 4))):
        entry = start + 2 + 12 * int(random.integers(count))
        struct.pack_into("<I", file, entry + int(random.choice([4, 8])), int(2 ** random.uniform(0, 32)) & 0xFFFFFFFF)
    return bytes(file)


def tiff_strips(random: Random) -> bytes:
    """Make a TIFF file of many strips that are all the same bytes, so that it unfolds to much."""
    rows, width = int(2 ** random.uniform(0, 15)), int(2 ** random.uniform(0, 15))
    strip = zlib.compress(bytes(min(3 * width, 1 << 20)), 9)
    places = struct.pack(f"<{rows}I", *([8] * rows))
    lengths = struct.pack(f"<{rows}I", *([len(strip)] * rows))
    data = strip + places + lengths
    tags = [
        (256, 4, 1, width), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2), (273, 4, rows, 0),
        (277, 3, 1, 3), (278, 4, 1, 1), (279, 4, rows, 0),
    ]  # fmt: skip
    offsets = {273: 8 + len(strip), 279: 8 + len(strip) + len(places)}
    single = {273: 8, 279: len(strip)}
    entries = b"".join(
        struct.pack("<HHII", tag, kind, number, value or (offsets if rows > 1 else single)[tag])
        for tag, kind, number, value in tags
    )
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def other_parsers(random: Random) -> bytes:
    """Bring what slow parsers of other formats would read for long."""
    size = int(2 ** random.uniform(4, 22))
    heads = (b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6", b"GIF89a", b"P3 9 9 9\n", b"<svg ", b"SIMPLE  =")
    return _one(random, *heads, b"\0\0\0\x20ftypavif") + _one(random, b"%%", b"\n", b"\r", b"9 ", b"\0") * size


BOMBS: tuple[Callable[[Random], bytes], ...] = (
    png_size, png_chunks, jpeg_size, jpeg_scans, jpeg_segments, webp_size, webp_frames, bmp_size, tiff_tags,
    tiff_strips, other_parsers,
)  # fmt: skip
