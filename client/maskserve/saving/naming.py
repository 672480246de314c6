"""What the files of an image may be called: PaddleX's name first, and others for when that one is taken."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maskserve.saving.files import allowed_name, is_url, stem

if TYPE_CHECKING:
    from pathlib import Path

    from maskserve.inputs.image import InputImage
    from maskserve.paddlex.generations import Generation

Kind = Literal["image", "json"]

_LONGEST = 255  # bytes, which most file systems take
_LONGEST_LABEL = 40  # letters of a class name in the name of a file
# What Pillow writes, but not an RGB image of any size as it is.
_NO_IMAGES = frozenset(
    {".pdf", ".ico", ".icns", ".blp", ".bufr", ".emf", ".wmf", ".grib", ".h5", ".hdf", ".msp", ".palm", ".xbm"}
)


@dataclass(frozen=True, slots=True)
class Choices:
    """Names for one file, all of which follow from the image alone.

    Attributes:
        plain: PaddleX's.
        beside: for where the file called `plain` is not to be touched; None where there is no such name.
        telling: for where another image has `plain`, too: better ones first. The last is this image's alone.
    """

    plain: str
    beside: str | None
    telling: tuple[str, ...]


def choices(input_image: InputImage, name: Path, generation: Generation, kind: Kind) -> Choices:
    """Return the names of a file of `input_image`.

    Args:
        input_image: the image.
        name: its own name, as `own_name` gives it.
        generation: whose names.
        kind: the file: the drawn image, or the JSON file.
    """
    stem_there, suffix = stem(input_image, name, generation), image_suffix(name)
    tail = stem_there[len(name.stem) :]
    mark = f"-{hashlib.blake2b(_as_bytes(owner(input_image, name)), digest_size=6).hexdigest()}{tail}"
    if kind == "json":
        # as in `photo.jpg.json` beside `photo.png.json`
        telling = (f"{stem_there}{suffix}.json", _shortened(name.stem, f"{mark}.json"))
        return _fitting(Choices(f"{stem_there}.json", None, telling))
    beside = None if generation.stem_suffix else f"{stem_there}_res{suffix}"
    return _fitting(Choices(f"{stem_there}{suffix}", beside, (_shortened(name.stem, f"{mark}{suffix}"),)))


def cutout_choices(input_image: InputImage, generation: Generation, position: int, label: str, name: Path) -> Choices:
    """Return the names of the file of an instance that is cut out of `input_image`.

    Args:
        input_image: the image.
        generation: whose names.
        position: of the instance in the result.
        label: its class, of which the letters that are allowed in a name are kept.
        name: the image's own name, as `own_name` gives it.
    """
    tail = f"_{position}_{allowed_name(label)[:_LONGEST_LABEL]}".rstrip("_") + ".png"
    mark = hashlib.blake2b(_as_bytes(owner(input_image, name)), digest_size=6).hexdigest()
    stem_there = stem(input_image, name, generation)
    return _fitting(Choices(f"{stem_there}{tail}", None, (_shortened(name.stem, f"-{mark}{tail}"),)))


def owner(input_image: InputImage, name: Path) -> str:
    """Return what tells an image from all others: its path or URL and its page or frame; for one in memory its name."""
    source = input_image.input_path
    if source is None:
        return str(name)
    return f"{source if is_url(source) else os.path.abspath(source)}#{input_image.part}"


def image_suffix(name: Path) -> str:
    """Return the suffix of the drawn image: that of `name` where images are saved so, else ``.png``."""
    return name.suffix if is_image_suffix(name.suffix.lower()) and name.suffix.lower() not in _NO_IMAGES else ".png"


def is_image_suffix(suffix: str) -> bool:
    """Return whether files with this suffix, in lower case, are images that Pillow writes."""
    from PIL import Image

    return Image.registered_extensions().get(suffix) in Image.SAVE and suffix != ".pdf"


def _fitting(names: Choices) -> Choices:
    """Leave out the names that are too long for a file system; the last always fits."""
    *others, last = names.telling
    fitting = (*(name for name in others if _fits(name)), last)
    beside = names.beside if names.beside and _fits(names.beside) else None
    return Choices(names.plain, beside, fitting) if _fits(names.plain) else Choices(fitting[0], None, fitting)


def _fits(name: str) -> bool:
    return len(_as_bytes(name)) <= _LONGEST


def _shortened(start: str, end: str) -> str:
    """Return `start` and `end` as a name, with as much of `start` as there is room for."""
    room = _LONGEST - len(_as_bytes(end))
    while len(_as_bytes(start)) > room:
        start = start[:-1]
    return start + end


def _as_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # the bytes of a name that is not UTF-8
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
