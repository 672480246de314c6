"""JPEG files to pixels, with libjpeg's own word on whether the data of all pixels were there.

`simplejpeg` is libjpeg-turbo, as in OpenCV, with the same arithmetic: the pixels are those of `cv2.imdecode`, bit by
bit. OpenCV writes libjpeg's warnings to standard error, where nobody can use them, and fills with grey what is missing.

Two rare kinds have no word: where simplejpeg does not know the form of subsampling (3x1), Pillow decodes, which is
libjpeg-turbo too, and the grey that libjpeg puts at the end tells; arithmetic coding has no end of data, so that a part
of it with an end marker cannot be told.

OpenCV decodes no JPEG file here: up to 4.11 a crafted one writes outside of its memory (CVE-2025-53644).
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import simplejpeg

from maskserve.decoding.formats import jpeg, jpeg_restarts
from maskserve.errors import InvalidImage
from maskserve.inputs.decoding import bgr_of_cmyk

_NO_END = "Premature end of JPEG file"
# libjpeg's warnings, as opposed to its errors; and those that mean wrong pixels. Too many bytes, odd headers do not.
_WARNING = re.compile(
    r"Corrupt JPEG data|Premature end of JPEG file|Invalid SOS|Inconsistent progression|Unknown Adobe|Warning:"
)
_DAMAGE = re.compile(r"[Pp]remature end|bad Huffman code|bad arithmetic code|instead of RST")
_TOO_MANY = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_BEFORE_A_RESTART = re.compile(r"extraneous bytes before marker 0xd[0-7]")
_MISSING = 128  # what libjpeg puts where data are missing

_FACTORS = (8, 4, 2)  # by which libjpeg-turbo has fast code for a smaller inverse transform

Pixels = npt.NDArray[np.uint8]
Allocate = Callable[[tuple[int, int, int]], Pixels]


def allocated(shape: tuple[int, int, int]) -> Pixels:
    """Return memory of this process for pixels."""
    return np.empty(shape, np.uint8)


def reduced_size(width: int, height: int, least: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height to decode to: a half, a quarter or an eighth, or the whole where these are too small.

    Args:
        width: of the image, as it is stored.
        height: likewise.
        least: the height and width, as they are stored, that are needed.
    """
    for factor in _FACTORS:
        if -(-height // factor) >= least[0] and -(-width // factor) >= least[1]:
            return -(-width // factor), -(-height // factor)
    return width, height


def decode(
    content: bytes, outline: jpeg.Jpeg, allocate: Allocate = allocated, least: tuple[int, int] | None = None
) -> Pixels:
    """Decode the first image of a JPEG file.

    Args:
        content: the file.
        outline: what `jpeg.walk` made of it.
        allocate: gives the array for the pixels, and may give the same memory again.
        least: the height and width, as they are stored, that are enough; None for all pixels.

    Returns:
        uint8 [height, width, 3] BGR, not turned. With `least` see `reduced_size`; rare kinds of files are not reduced.

    Raises:
        InvalidImage: pixels are missing, or the data are damaged.
    """
    size = (outline.width, outline.height) if least is None else reduced_size(outline.width, outline.height, least)
    ways = _ended(content, outline) if outline.end == -1 else (content,)
    content, pixels, warning = _best(ways, outline, allocate, size)
    if _NO_END in warning and outline.end is None:
        content, pixels, warning = _best(_ended(content, outline), outline, allocate, size)
    if extra := _TOO_MANY.search(warning):
        warning = _without(int(extra[1]), content, outline)
    if _DAMAGE.search(warning):
        what = "truncated: pixels are missing" if "remature" in warning else "damaged"
        raise InvalidImage(f"the JPEG is {what} ({warning})")
    if _BEFORE_A_RESTART.search(warning) and not (jpeg_restarts.complete(content) and _has_end(pixels)):
        raise InvalidImage(f"the JPEG is damaged: a part of its pixels is missing ({warning})")
    return pixels


def _has_end(pixels: Pixels) -> bool:
    """Return whether the last pixels are not what libjpeg puts where data are missing."""
    return not np.all(pixels[-8:, -8:] == _MISSING)


def _best(
    ways: tuple[bytes, ...], outline: jpeg.Jpeg, allocate: Allocate, size: tuple[int, int]
) -> tuple[bytes, Pixels, str]:
    """Return the first way to read a file of which libjpeg has nothing to say, or else the last one, and `_attempt`."""
    for content in ways:
        pixels, warning = _attempt(content, outline, allocate, size)
        if not warning:
            break
    return content, pixels, warning


def _ended(content: bytes, outline: jpeg.Jpeg) -> tuple[bytes, ...]:
    """Return a file that has lost its end marker with one, unless libjpeg would not say how much else was lost."""
    if outline.arithmetic:  # whose data may end early: zeros follow then
        raise InvalidImage("the JPEG is truncated: its end is missing")
    return jpeg.with_end(content)


def _attempt(content: bytes, outline: jpeg.Jpeg, allocate: Allocate, size: tuple[int, int]) -> tuple[Pixels, str]:
    """Return the pixels in a size of `reduced_size`, and libjpeg's first warning or an empty string."""
    width, height = size
    cmyk = len(outline.components) == 4
    try:
        simplejpeg.decode_jpeg_header(content)
    except ValueError:  # odd headers, rare forms of subsampling
        return _by_pillow(content), ""
    pixels = (allocated if cmyk else allocate)((height, width, 4 if cmyk else 3))
    warning = ""
    try:
        simplejpeg.decode_jpeg(content, "CMYK" if cmyk else "BGR", min_height=height, min_width=width, buffer=pixels)
    except ValueError as error:
        warning = str(error)
        if not _WARNING.search(warning):
            return _by_pillow(content), ""
    return bgr_of_cmyk(pixels) if cmyk else pixels, warning  # after a warning the pixels are there all the same


def _without(extra: int, content: bytes, outline: jpeg.Jpeg) -> str:
    """Return libjpeg's first warning but the one of bytes too many in front of the end: it says the first only."""
    end = outline.end if outline.end not in (None, -1) else jpeg.walk(content, to_the_end=True).end
    assert end is not None  # the walk went to the end
    return _attempt(content[: end - extra] + content[end:], outline, allocated, (outline.width, outline.height))[1]


def _by_pillow(content: bytes) -> Pixels:
    if jpeg.walk(content, to_the_end=True).end == -1:
        raise InvalidImage("the JPEG is truncated: its end is missing")
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                cmyk = image.mode == "CMYK"
                stored = np.asarray(image if cmyk else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        what = "truncated: pixels are missing" if "truncated" in str(error) else "damaged and cannot be decoded"
        raise InvalidImage(f"the JPEG is {what}") from None
    if not _has_end(stored):
        raise InvalidImage("the JPEG is truncated: pixels are missing")
    return bgr_of_cmyk(np.invert(stored)) if cmyk else np.ascontiguousarray(stored[:, :, ::-1])
