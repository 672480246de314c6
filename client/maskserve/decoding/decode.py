"""Decode an untrusted image file. Its structure is checked against the limits before any pixel is decoded.

`processes` runs this in processes of their own, whose death costs one image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskserve.decoding import jpeg_pixels
from maskserve.decoding.formats import bmp, jpeg, png, tiff, webp
from maskserve.decoding.limits import UNLIMITED, Limits
from maskserve.decoding.moving import move
from maskserve.decoding.tiff_check import check_pixels
from maskserve.errors import ImageTooLarge, InvalidImage, UnsupportedFormat
from maskserve.inputs.decoding import decode_bgr
from maskserve.inputs.exif import orientation_of, turned_view
from maskserve.inputs.formats import READABLE, format_of, refusal_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskserve.decoding.jpeg_pixels import Allocate

FORMATS = READABLE

# Bytes of a file that a pixel may take where the file is larger than `max_bytes`: four channels of 16 bits.
_BYTES_PER_PIXEL = 8
_ON_THEIR_SIDE = (5, 6, 7, 8)  # orientations whose rows are stored as columns
_WALKS = {"PNG": png.walk, "WEBP": webp.walk, "BMP": bmp.walk}


def decode(
    data: bytes,
    limits: Limits = UNLIMITED,
    allocate: Allocate = jpeg_pixels.allocated,
    least: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Decode an image as `cv2.imread` would: 8-bit BGR, EXIF orientation applied, alpha dropped.

    Args:
        data: the file's bytes; JPEG, PNG, WebP, BMP or TIFF.
        limits: how large it may be.
        allocate: gives the array for the pixels where a decoder can write into one; it may be called again, and give
            the same memory then.
        least: the height and width that are enough: a JPEG file is decoded to a half, a quarter or an eighth of its
            size where that is not below. None for all pixels.

    Returns:
        The pixels, uint8 [height, width, 3].

    Raises:
        InvalidImage: not an image, or a damaged or truncated one.
        UnsupportedFormat: an image of another format.
        ImageTooLarge: over a limit, or decoding it takes more memory than this process may have.
    """
    if not data:
        raise InvalidImage("the image is empty (0 bytes)")
    _check_bytes(len(data), limits.max_pixels, limits)
    kind = format_of(data)
    if kind is None:
        raise InvalidImage("the bytes are not an image that can be read")
    if kind not in FORMATS:
        raise UnsupportedFormat(refusal_of(kind))
    if kind == "JPEG":
        return _jpeg(data, limits, allocate, least)
    if kind == "BMP" and (plain := plain_pixels(data, limits)) is not None:
        return np.array(plain)
    if kind == "TIFF":
        outline, directory = tiff.walk(data)
        _check_size(len(data), outline.width, outline.height, limits)
        check_pixels(directory)
    else:
        outline = _WALKS[kind](data)
        _check_size(len(data), outline.width, outline.height, limits)
    pixels = decode_bgr(outline.content)
    if pixels.shape[0] * pixels.shape[1] != outline.width * outline.height:
        raise InvalidImage("the image is damaged: its header and its pixels disagree")
    return pixels


def plain_pixels(data: bytes, limits: Limits = UNLIMITED) -> NDArray[np.uint8] | None:
    """Return the pixels of a file that needs no decoder; None for any other.

    Args:
        data: the file's bytes.
        limits: how large it may be.

    Returns:
        uint8 [height, width, 3] BGR, read-only and not in C order.

    Raises:
        InvalidImage: it is a damaged BMP file.
        ImageTooLarge: it is one over a limit.
    """
    if format_of(data) != "BMP":
        return None
    _check_bytes(len(data), limits.max_pixels, limits)
    outline = bmp.walk(data)
    _check_size(len(data), outline.width, outline.height, limits)
    return bmp.plain_pixels(data, outline)


def jpeg_size(data: bytes, limits: Limits = UNLIMITED) -> tuple[int, int] | None:
    """Return the height and width of a JPEG file's image as it is seen, without decoding it; None for another file.

    Raises:
        InvalidImage: it is a damaged JPEG file.
        ImageTooLarge: it is one over a limit.
    """
    if format_of(data) != "JPEG":
        return None
    _check_bytes(len(data), limits.max_pixels, limits)
    outline = jpeg.walk(data)
    _check_size(len(data), outline.width, outline.height, limits)
    on_its_side = orientation_of(data) in _ON_THEIR_SIDE
    return (outline.width, outline.height) if on_its_side else (outline.height, outline.width)


def _jpeg(data: bytes, limits: Limits, allocate: Allocate, least: tuple[int, int] | None) -> NDArray[np.uint8]:
    outline = jpeg.walk(data)
    _check_size(len(data), outline.width, outline.height, limits)
    orientation = orientation_of(data)
    if orientation == 1:
        return jpeg_pixels.decode(data, outline, allocate, least)
    if least is not None and orientation in _ON_THEIR_SIDE:
        least = least[::-1]
    stored = jpeg_pixels.decode(data, outline, least=least)
    height, width, channels = turned_view(stored, orientation).shape
    pixels = allocate((height, width, channels))
    move(stored, pixels, orientation)
    return pixels


def _check_size(size: int, width: int, height: int, limits: Limits) -> None:
    """Check the pixels, and the bytes: those that the pixels themselves may need are never too many."""
    pixels = width * height
    if pixels > limits.max_pixels:
        raise ImageTooLarge(f"the image has {width}x{height} pixels, the limit is {limits.max_pixels} in all")
    _check_bytes(size, pixels, limits)


def _check_bytes(size: int, pixels: int, limits: Limits) -> None:
    if size > (allowed := max(limits.max_bytes, pixels * _BYTES_PER_PIXEL)):
        raise ImageTooLarge(f"the image file has {size} bytes, the limit is {allowed}")
