"""Pixels of PIL images: those that the image's own file gives."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.errors import InvalidImage
from maskserve.inputs.decoding import bgr_of_cmyk, eight_bits
from maskserve.inputs.exif import exif_orientation, turned
from maskserve.inputs.formats import READABLE, format_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORIENTATION, _BITS = 0x0112, 0x0102
# Where PIL finds an orientation that no decoder of PaddleX's looks for.
_ELSEWHERE = frozenset({"xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}


def is_pil(source: Any) -> bool:
    """Return whether `source` is a PIL image. PIL is not imported for the question."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(source).__mro__)


def load_pil(image: Any) -> NDArray[np.uint8]:
    """Return the pixels of a PIL image of any mode, turned upright as its EXIF orientation says.

    Returns:
        uint8 [height, width, 3], BGR, C order.

    Raises:
        InvalidImage: it cannot be read, or its mode has no colours that are known.
    """
    from PIL.Image import DecompressionBombError

    try:
        image.load()
        return turned(_bgr(image), _orientation(image))
    except (OSError, SyntaxError, ValueError, EOFError, DecompressionBombError) as error:
        raise InvalidImage(f"the PIL image cannot be read (mode {image.mode}): {error}") from None


def file_of(image: Any) -> bytes | None:
    """Return the file behind a PIL image that was opened and not loaded yet; None for any other.

    Nothing can have changed its pixels, so that its file has the answer: it is smaller, and a server sees whether all
    of its pixels are there, which PIL does not tell. The image is loaded all the same: that closes its file, as whoever
    uses PIL expects.
    """
    file = getattr(image, "fp", None)
    if not getattr(image, "tile", None) or file is None or image.tell() != 0:
        return None
    several = image.format != "MPO" and getattr(image, "n_frames", 1) != 1
    if several or getattr(image, "decoderconfig", ()):  # `draft` made it smaller
        return None
    try:
        place = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(place)
    except (OSError, ValueError, AttributeError):
        return None
    with suppress(Exception):  # the file's own error is a better one, and comes in its turn
        image.load()
    return bytes(content) if format_of(content) in READABLE else None


def lost_file(image: Any) -> bool:
    """Return whether a PIL image was not loaded yet, and its file is closed already."""
    file = getattr(image, "fp", None)
    return bool(getattr(image, "tile", None)) and (file is None or getattr(file, "closed", False))


def _bgr(image: Any) -> NDArray[np.uint8]:
    if min(image.size) == 0:
        raise InvalidImage(f"a PIL image of {image.width}x{image.height} has no pixels")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # older PILs call both "I"
        return _grey((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))  # OpenCV keeps the upper bits, too
    if image.mode in ("I", "F"):
        return _grey(eight_bits(np.asarray(image)))
    if image.mode == "CMYK" and image.format != "TIFF":
        return bgr_of_cmyk(np.invert(np.asarray(image, np.uint8)))
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if image.mode == "RGBA" and image.format == "TIFF" and max(image.tag_v2.get(_BITS, (8,))) == 8:
        return _on_black(np.asarray(image))
    return np.asarray(image.convert("RGB"))[:, :, ::-1]


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[:, :, None], 3, axis=2)


def _on_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what libtiff, and so OpenCV, makes of a TIFF file with alpha: the colours times alpha."""
    alpha = rgba[:, :, 3:].astype(np.uint32)
    return ((rgba[:, :, 2::-1] * alpha + 127) // 255).astype(np.uint8)


def _orientation(image: Any) -> int:
    if exif := image.info.get("exif"):
        return exif_orientation(exif) or 1
    if not _ELSEWHERE.isdisjoint(image.info):
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1
