"""Small, sound files of every format that mutations start from."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image

_SIZES = ((7, 5), (64, 48), (200, 150))


def _pil(size: tuple[int, int], kind: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(cv2.blur(pixels, (3, 3))).convert(mode)
    file = io.BytesIO()
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": [image.rotate(90 * turn) for turn in (1, 2)]}
    image.save(file, kind, **options)
    return file.getvalue()


def _cv2(size: tuple[int, int], suffix: str, *parameters: int, bits: int = 8) -> bytes:
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    deep = pixels.astype(np.uint16) * 257 if bits == 16 else pixels
    return bytes(cv2.imencode(suffix, deep, list(parameters))[1])


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


_KINDS: dict[str, list[tuple[Any, ...]]] = {
    "JPEG": [
        (_pil, "JPEG"),
        (_pil, "JPEG", "L"),
        (_pil, "JPEG", "CMYK"),
        (_pil, "JPEG", "RGB", {"progressive": True}),
        (_pil, "JPEG", "RGB", {"subsampling": 0, "restart_marker_rows": 1}),
        (_pil, "JPEG", "CMYK", {"progressive": True}),
        (_pil, "MPO", "RGB", {"animated": True}),
    ],
    "PNG": [
        (_pil, "PNG"),
        (_pil, "PNG", "P"),
        (_pil, "PNG", "1"),
        (_pil, "PNG", "RGBA"),
        (_pil, "PNG", "LA"),
        (_pil, "PNG", "RGB", {"animated": True}),
        (_cv2, ".png", {"bits": 16}),
    ],
    "WEBP": [
        (_pil, "WEBP"),
        (_pil, "WEBP", "RGBA", {"lossless": True}),
        (_pil, "WEBP", "RGBA"),
        (_pil, "WEBP", "RGB", {"animated": True}),
    ],
    "BMP": [(_pil, "BMP"), (_pil, "BMP", "P"), (_pil, "BMP", "1"), (_pil, "BMP", "L"), (_pil, "BMP", "RGBA")],
    "TIFF": [
        *((_pil, "TIFF", "RGB", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")),
        (_pil, "TIFF", "1", {"compression": "group4"}),
        (_pil, "TIFF", "1", {"compression": "group3"}),
        (_pil, "TIFF", "CMYK", {"compression": "packbits"}),
        (_pil, "TIFF", "F"),
        (_pil, "TIFF", "RGB", {"animated": True}),
        (_cv2, ".tiff", {"bits": 16}),
    ],
    "not read": [
        (_pil, "GIF", "P"),
        (_pil, "AVIF"),
        (_pil, "JPEG2000"),
        (_pil, "PPM"),
        (_pil, "ICO"),
        (_pil, "EPS"),
        (_pil, "PDF"),
        (_pil, "SGI"),
        (_pil, "TGA"),
    ],
}


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """Return files of a format; `kinds` names the formats."""
    made = []
    for make, *rest in _KINDS[kind]:
        options = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        for size in _SIZES:
            try:
                made.append(make(size, *rest, **dict(options)))
            except (OSError, KeyError, ValueError):  # this Pillow cannot write it
                continue
    return tuple(made)


def kinds() -> tuple[str, ...]:
    """Return the names of the formats, and of those that are refused."""
    return tuple(_KINDS)
