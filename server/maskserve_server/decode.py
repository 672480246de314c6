"""Decode an untrusted image file: its header is read, and held against the limits, before any pixel is."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from maskserve.errors import ImageTooLarge, InvalidImage, UnsupportedFormat
from maskserve_server.spec import Limits

# The limits of `decode` are checked on the header, and say more than Pillow's own.
Image.MAX_IMAGE_PIXELS = None

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

_JPEG_END = b"\xff\xd9"


def decode(data: bytes, limits: Limits) -> npt.NDArray[np.uint8]:
    """Decode an image as `cv2.imread` would: 8-bit BGR, EXIF orientation applied, alpha dropped.

    Args:
        data: the file's bytes; JPEG, PNG, WebP, BMP or TIFF.
        limits: how large it may be.

    Returns:
        The pixels, uint8 [height, width, 3].

    Raises:
        InvalidImage: not an image, or a damaged or truncated one.
        UnsupportedFormat: an image of another format.
        ImageTooLarge: over a limit.
    """
    if not data:
        raise InvalidImage("the image is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image file has {len(data)} bytes, the limit is {limits.max_bytes}")
    kind, width, height = _header(data)
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"the image has {width}x{height} pixels, the limit is {limits.max_pixels} in all")
    if kind == "JPEG" and _JPEG_END not in data[-1024:]:
        # cv2 would fill the missing rows with grey and say nothing.
        raise InvalidImage("the JPEG is truncated: its end is missing")
    return _pixels(data, width * height)


def _header(data: bytes) -> tuple[str, int, int]:
    """Format, width and height of an image file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                kind, (width, height) = str(image.format), image.size
    except UnidentifiedImageError as error:
        raise InvalidImage("the bytes are not an image that can be read") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InvalidImage("the image's header is damaged") from error
    if kind == "MPO":  # a JPEG with a second picture behind it, as phones write them
        kind = "JPEG"
    if kind not in FORMATS:
        raise UnsupportedFormat(f"{kind} images are not supported; send one of {', '.join(FORMATS)}")
    return kind, width, height


def _pixels(data: bytes, expected: int) -> npt.NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InvalidImage("the image is damaged and cannot be decoded") from error
    if image is None:
        raise InvalidImage("the image is damaged and cannot be decoded")
    if image.shape[0] * image.shape[1] != expected:
        raise InvalidImage("the image is damaged: its header and its pixels disagree")
    return np.asarray(image, np.uint8)
