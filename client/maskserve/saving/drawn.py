"""Images that maskserve drew: how they are written, and how they are known again."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError
from maskserve.saving.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "maskserve (instances drawn)"
_SOFTWARE = 0x0131  # the tag in EXIF and TIFF
_PNG_LEVEL = 1  # of 9: a fifth of the time of 6, which is usual, for a sixth more bytes
_LOOKED_AT = 4096  # bytes at either end of a file, where all formats have their comments
_LARGEST_SIDE = {"JPEG": 65500, "MPO": 65500, "WEBP": 16383, "GIF": 65535, "TGA": 65535, "PCX": 65535, "SGI": 65535}
_ICONS = frozenset({"ICO", "ICNS"})  # which would be drawn smaller or larger, without a warning
# What Pillow's writers raise, besides OSError, when an image does not suit them.
_REFUSALS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SystemError, MemoryError, struct.error)
_RESULT = re.compile(r'\s*\{\s*"input_path"\s*:\s*("(?:[^"\\]|\\.)*"|null)\s*,')


def write_image(image: Image, path: Path, *, overwrite: bool = True) -> None:
    """Write an image with a mark that says who drew it.

    Args:
        image: the drawn image.
        path: the file, whose suffix tells the format.
        overwrite: whether a file that is there already is replaced.

    Raises:
        InputError: the file cannot be written, or its format does not hold such an image.
        NameTaken: it is there already, and not to be replaced.
    """
    from PIL import Image as pillow

    kind = pillow.registered_extensions().get(path.suffix.lower(), "PNG")
    kind = "BMP" if kind == "DIB" else kind  # with the header that others want to see
    side = max(image.size)
    if kind in _ICONS or side > _LARGEST_SIDE.get(kind, side):
        size = f"{image.size[0]}x{image.size[1]}"
        raise InputError(f"{path} cannot be written: {kind} does not hold an image of {size}; name a .png file")
    with replacing(path, overwrite=overwrite) as scratch:
        try:
            image.save(scratch, kind, **_marked(kind))
            if kind == "BMP":  # it has no comments, and nobody reads what is behind its pixels
                with scratch.open("ab") as file:
                    file.write(MARK.encode())
        except _REFUSALS as error:
            raise InputError(
                f"{path} cannot be written: {str(error) or type(error).__name__}; name a .png file"
            ) from None


def _marked(kind: str) -> dict[str, Any]:
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        information = PngInfo()
        information.add_text("Software", MARK)
        return {"pnginfo": information, "compress_level": _PNG_LEVEL}
    if kind == "WEBP":
        from PIL import Image

        exif = Image.Exif()
        exif[_SOFTWARE] = MARK
        return {"exif": exif}
    if kind == "TIFF":
        return {"tiffinfo": {_SOFTWARE: MARK}}
    return {"comment": MARK} if kind in ("JPEG", "GIF") else {}


def is_drawn(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an image that `write_image` wrote."""
    try:
        if not os.path.isfile(path):  # a named pipe would be waited for
            return False
        with open(path, "rb") as file:
            ends = file.read(_LOOKED_AT)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            ends += file.read(_LOOKED_AT)
    except (OSError, ValueError):
        return False
    return MARK.encode() in ends


def is_own(path: Path) -> bool:
    """Return whether maskserve (or for JSON files PaddleX) wrote a file."""
    return saved_source(path) is not False if path.suffix == ".json" else is_drawn(path)


def saved_source(path: Path) -> str | bool | None:
    """Return the `input_path` of a result that was saved as JSON; False where there is no such file."""
    try:
        if not path.is_file():  # a named pipe would be waited for
            return False
        with path.open(encoding="utf-8", errors="replace") as file:
            found = _RESULT.match(file.read(1 << 16))
        source: str | bool | None = json.loads(found[1]) if found else False
    except (OSError, ValueError):
        return False
    return source
