"""TIFF files with several directories, classic and BigTIFF, in both byte orders, made by code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Page:
    """Grey or RGB pixels, how they are stored, and further tags of one whole number."""

    pixels: Any
    strips: int = 3
    compressed: bool = False
    tags: dict[int, int] = field(default_factory=dict)


def tiff(pages: Sequence[Page], *, big: bool = False, order: str = "<") -> bytes:
    """A file with these directories, one after the other."""
    offset, number, count = ("Q", "Q", "Q") if big else ("I", "H", "I")
    head = b"II" if order == "<" else b"MM"
    body = bytearray(
        head + struct.pack(f"{order}HHHQ", 43, 8, 0, 0) if big else head + struct.pack(f"{order}HI", 42, 0)
    )
    link = len(body) - struct.calcsize(offset)

    def stored(values: Sequence[int], code: str) -> bytes:
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(data) <= struct.calcsize(offset):
            return data.ljust(struct.calcsize(offset), b"\0")
        place = len(body)
        body.extend(data)
        return struct.pack(f"{order}{offset}", place)

    for page in pages:
        pixels = np.asarray(page.pixels)
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        rows = -(-pixels.shape[0] // page.strips)
        places, lengths = [], []
        for start in range(0, pixels.shape[0], rows):
            data = pixels[start : start + rows].tobytes()
            data = zlib.compress(data) if page.compressed else data
            places.append(len(body))
            lengths.append(len(data))
            body.extend(data)
        tags: dict[int, tuple[str, Sequence[int]]] = {
            256: ("I", [pixels.shape[1]]),
            257: ("I", [pixels.shape[0]]),
            258: ("H", [8] * channels),
            259: ("H", [8 if page.compressed else 1]),
            262: ("H", [1 if channels == 1 else 2]),
            273: ("I", places),
            277: ("H", [channels]),
            278: ("I", [rows]),
            279: ("I", lengths),
            **{tag: ("I", [value]) for tag, value in page.tags.items()},
        }
        entries = b"".join(
            struct.pack(f"{order}HH{count}", tag, {"H": 3, "I": 4}[code], len(values)) + stored(values, code)
            for tag, (code, values) in sorted(tags.items())
        )
        body[link : link + struct.calcsize(offset)] = struct.pack(f"{order}{offset}", len(body))
        body.extend(struct.pack(f"{order}{number}", len(tags)) + entries)
        link = len(body)
        body.extend(bytes(struct.calcsize(offset)))
    return bytes(body)
