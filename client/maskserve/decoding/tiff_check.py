"""Whether the compressed pixels of a TIFF file are all there: libtiff's word, by way of PIL.

OpenCV leaves black what is missing in a strip, and says nothing. A strip of fax codes (group 3 and 4) cannot be judged:
libtiff itself fills it up.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from maskserve.decoding import jpeg_pixels
from maskserve.decoding.formats import jpeg, tiff
from maskserve.errors import InvalidImage
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.tiff import Directory

_NONE, _JPEG = 1, 7
_FAX = (2, 3, 4)
_AREA_FACTOR, _LARGEST_TILE = 4, 1 << 22  # tiles may stand out beyond the image


def check_pixels(directory: Directory) -> None:
    """Check that each strip or tile of a TIFF file holds its pixels.

    Raises:
        InvalidImage: pixels are missing or damaged.
    """
    compression = directory.number(_tiff.COMPRESSION, _NONE)
    if compression == _JPEG:
        _check_jpeg(directory)
    elif compression != _NONE and compression not in _FAX:
        _check_with_pil(directory.content)


def _check_jpeg(directory: Directory) -> None:
    tables = directory.data(_tiff.JPEG_TABLES)
    head = tables[:-2] if tables else b"\xff\xd8"  # without its end marker
    room = _AREA_FACTOR * directory.number(_tiff.WIDTH) * directory.number(_tiff.HEIGHT) + _LARGEST_TILE
    for segment in tiff.segments(directory):
        stream = head + segment[2:]
        outline = jpeg.walk(stream)
        room -= outline.width * outline.height
        if room < 0:
            raise InvalidImage("the TIFF is damaged: its strips have more pixels than it has")
        jpeg_pixels.decode(stream, outline)


def _check_with_pil(content: bytes) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
                image.load()
    except UnidentifiedImageError:  # a kind of samples that PIL does not know
        return
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if "not available" not in str(error):
            raise InvalidImage(f"the TIFF is damaged: its pixels cannot be read ({error})") from None
