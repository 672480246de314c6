"""What OpenCV makes of an image file: 8-bit BGR, upright, without alpha.

JPEG is left out: see `maskserve.decoding.jpeg_pixels`. Whoever has an image file asks `maskserve.decoding.decode`,
which looks at the file before a decoder does.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import ImageTooLarge, InvalidImage
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.exif import orientation_of, turned
from maskserve.inputs.formats import format_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OPENCV = ("PNG", "WEBP", "BMP", "TIFF")
NO_MEMORY = "the image takes more memory to decode than a decoder may have; make it smaller, or save it as JPEG"

_STRIPE = 1 << 18
_FLOAT = 3  # of TIFF's SampleFormat
_SCALE_IT = "scale it to 0 to 255 and store it with 8 bits, as numpy.clip(...).astype('uint8') does"
_SEVERAL = f"a TIFF of several channels of 32 bits or floats is not supported; {_SCALE_IT}"


def decode_bgr(content: bytes) -> NDArray[np.uint8]:
    """Decode an image file.

    EXIF orientation is applied whatever the format: OpenCV does so for JPEG and PNG, and for WebP from 4.12 on.

    Args:
        content: a PNG, WebP, BMP or TIFF file whose structure is sound. Of several pages the first is taken.

    Returns:
        uint8 [height, width, 3], BGR.

    Raises:
        InvalidImage: it cannot be decoded, or holds numbers whose range nobody knows.
        ImageTooLarge: there is too little memory for it.
        ValueError: it is a file of another format, or a JPEG: OpenCV shall not see one.
    """
    import cv2

    kind = format_of(content)
    if kind not in _OPENCV:
        raise ValueError(f"{kind} is not decoded with OpenCV")
    if kind == "TIFF" and _is_deep(_tiff.first_directory(content)):
        return _deep_tiff(content)
    pixels: NDArray[np.uint8] | None = None
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise ImageTooLarge(NO_MEMORY) from None
    if pixels is None:
        raise InvalidImage("the image is damaged and cannot be decoded")
    return turned(pixels, orientation_of(content))


def eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 32-bit or float [h, w] grey values as 8 bits where they are from 0 to 255 already.

    Raises:
        InvalidImage: they are not, or are floats up to 1 only: what is white is not known then.
    """
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InvalidImage(f"the image has values that are not finite; {_SCALE_IT}")
    if low < 0 or high > 255:
        raise InvalidImage(f"the image has values from {low:g} to {high:g}; {_SCALE_IT}")
    if values.dtype.kind == "f" and 0 < high <= 1:
        raise InvalidImage(f"the image has float values from {low:g} to {high:g}; multiply it by 255, {_SCALE_IT}")
    return values.astype(np.uint8)


def bgr_of_cmyk(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return BGR for CMYK [h, w, 4] as JPEG files store it, 255 for no ink, by OpenCV's arithmetic."""
    pixels = np.empty((*stored.shape[:2], 3), np.uint8)
    rows = max(_STRIPE // max(stored.shape[1], 1), 1)  # at once; of the whole image the numbers took 32 bytes a pixel
    for first in range(0, stored.shape[0], rows):
        stripe = stored[first : first + rows]
        black = stripe[:, :, 3:].astype(np.int32)
        pixels[first : first + rows] = black - ((255 - stripe[:, :, 2::-1].astype(np.int32)) * black >> 8)
    return pixels


def _is_deep(directory: _tiff.Directory) -> bool:
    """Return whether a directory holds more than 16 bits or floats, which OpenCV does not read or misreads."""
    return int(directory.numbers(_tiff.BITS, (1,)).max()) > 16 or directory.number(_tiff.SAMPLE_FORMAT, 1) == _FLOAT


def _deep_tiff(content: bytes) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=("TIFF",)) as image:
                values = np.asarray(image)
    except UnidentifiedImageError:
        raise InvalidImage(_SEVERAL) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"the TIFF is damaged and cannot be decoded: {error}") from None
    if values.ndim != 2:
        raise InvalidImage(_SEVERAL)
    return np.repeat(eight_bits(values)[:, :, None], 3, axis=2)
