"""The images and categories of a COCO annotation file, as results are to refer to them."""

from __future__ import annotations

import json
import operator
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from maskserve.errors import InvalidParameter
from maskserve.exports.common import where
from maskserve.inputs.image import load_file

if TYPE_CHECKING:
    from maskserve.results import InstanceSegResult

ImageId = int | str
_NUMBER = re.compile(r"(?:COCO_[a-z]+20\d\d_)?([0-9]+)")  # also 2014's COCO_val2014_000000000042.jpg
_REMEDY = "give images=, an annotation file whose file names are compared, or image_id=, a function that gives the id"


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of an annotation file: parts of its file name, id, and height and width, if they are there."""

    parts: tuple[str, ...]
    id: ImageId
    size: tuple[Any, Any]


@dataclass(slots=True)
class Annotations:
    """What an annotation file says of images and categories.

    Attributes:
        images: by the last part of their names.
        categories: ids by name; None where there are no categories.
    """

    images: dict[str, list[Entry]]
    categories: dict[str, int] | None = None

    def entry(self, result: InstanceSegResult) -> Entry:
        """Return the image of a result: the one with the same file name, and as many of the same folders as possible.

        Raises:
            InvalidParameter: there is none, or there are several.
        """
        for parts in _names(result):
            found = self.images.get(parts[-1], [])
            common = [_common(entry.parts, parts) for entry in found]
            best = [entry for entry, shared in zip(found, common, strict=True) if shared == max(common)]
            if len(best) > 1:
                names = " and ".join("/".join(entry.parts) for entry in best[:2])
                raise InvalidParameter(
                    f"{where(result)} may be {names} of images=: give its folders, too, or image_id="
                )
            if best:
                return best[0]
        raise InvalidParameter(f"{where(result)} is not among those of images=")


@dataclass(slots=True)
class ImageIds:
    """Ids of results, each given once.

    Attributes:
        annotations: where ids are looked up; None for those that are the numbers of file names.
        other_sizes: how many images had another size there.
    """

    annotations: Annotations | None
    other_sizes: int = 0
    _given: dict[ImageId, str] = field(default_factory=dict)

    def __call__(self, result: InstanceSegResult, _: int) -> ImageId:
        """Return the id of a result.

        Raises:
            InvalidParameter: it has none, or another result has it already.
        """
        found = self._looked_up(result) if self.annotations else _numbered(result)
        if found in self._given:
            raise InvalidParameter(f"{where(result)} and {self._given[found]} both have the id {found}: {_REMEDY}")
        self._given[found] = where(result)
        return found

    def _looked_up(self, result: InstanceSegResult) -> ImageId:
        assert self.annotations
        entry = self.annotations.entry(result)
        self.other_sizes += None not in entry.size and entry.size != result.instances.image_size
        return entry.id


def read_annotations(images: Any) -> Annotations:
    """Return what is known about images.

    Args:
        images: the path of a COCO annotation file, its content, pycocotools' `COCO`, its list of images, or ids by file
            name.

    Raises:
        InputError: the file cannot be read.
        InvalidParameter: it is something else.
    """
    content = getattr(images, "dataset", images)
    if isinstance(content, str | os.PathLike):
        try:
            content = json.loads(load_file(os.fspath(content)))
        except ValueError as error:
            raise InvalidParameter(f"{images} is not a COCO annotation file: {error}") from None
    categories = None
    if isinstance(content, Mapping) and "images" in content:
        categories = _categories(content.get("categories") or [])
        content = content["images"]
    elif isinstance(content, Mapping):
        content = [{"file_name": name, "id": number} for name, number in content.items()]
    if isinstance(content, str | bytes) or not isinstance(content, Iterable):
        raise InvalidParameter("images= is no COCO annotation file: it has no list of images")
    found: dict[str, list[Entry]] = {}
    for image in content:
        if not isinstance(image, Mapping) or "id" not in image or not isinstance(image.get("file_name"), str):
            raise InvalidParameter(f"images=: {image!r} has no id or no file_name")
        entry = Entry(_parts(image["file_name"]), plain_id(image["id"]), (image.get("height"), image.get("width")))
        found.setdefault(entry.parts[-1], []).append(entry)
    return Annotations(found, categories)


def plain_id(value: Any) -> ImageId:
    """Return an id that JSON can hold: numpy's integers become ints.

    Raises:
        InvalidParameter: it is neither an integer nor text.
    """
    if isinstance(value, str):
        return str.__str__(value)
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise InvalidParameter(f"{value!r} is no id of an image: give an integer")


def _categories(entries: Iterable[Mapping[str, Any]]) -> dict[str, int] | None:
    found = {_normal(entry["name"]): int(entry["id"]) for entry in entries if "name" in entry and "id" in entry}
    return found or None


def _numbered(result: InstanceSegResult) -> ImageId:
    path = result.get("input_path")
    matched = None if path is None else _NUMBER.fullmatch(PurePosixPath(_path_parts(str(path))[-1]).stem)
    if matched is None or result.part is not None:
        raise InvalidParameter(f"{where(result)} has no id, because its name is not a number: {_REMEDY}")
    return int(matched[1])


def _names(result: InstanceSegResult) -> list[tuple[str, ...]]:
    """Return the names to look for, as parts: for a page or a frame that of its saved image first."""
    path = result.get("input_path")
    if path is None:
        raise InvalidParameter(f"{where(result)} has no file name to look for in images=: give image_id=")
    *folders, name = _path_parts(os.fspath(path))
    if result.part is None:
        return [(*folders, name)]
    saved = PurePosixPath(name).stem + f"_{result.part}"
    return [(*folders, saved + suffix) for suffix in (".png", ".jpg", PurePosixPath(name).suffix)]


def _path_parts(path: str) -> tuple[str, ...]:
    return _parts(unquote(urlsplit(path).path) if "://" in path else path)


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a path, alike on every system: Windows writes other separators, macOS decomposes names."""
    return tuple(part for part in _normal(name).replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return how many parts two paths share at their ends."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count
