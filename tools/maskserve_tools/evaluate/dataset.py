"""A COCO data set as it is judged: checked, and with numbers of our own.

pycocotools trusts its input. An annotation with the id 0 counts as one that is never found, run lengths of another size
are compared with nothing, and a missing key is a KeyError. So everything is checked here, and numbered from 1.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import InputError, ToolError, listed
from maskserve_tools.evaluate.segmentation import BrokenAnnotation, Size, as_whole, box_of, flag, run_lengths
from maskserve_tools.evaluate.units import check_units

_SHOWN = 5  # of a long list of names


@dataclass(frozen=True, slots=True)
class TruthImage:
    """An image of the data set.

    Attributes:
        number: its number, from 1.
        path: the file.
        size: height and width, as the annotations say them.
    """

    number: int
    path: Path
    size: Size


@dataclass(frozen=True, slots=True)
class Dataset:
    """A checked data set.

    Attributes:
        file: the annotation file.
        images: in the order of the file.
        categories: the names by their numbers, which are from 1, in the order of the file.
        annotations: dicts as pycocotools reads them, with our numbers.
        masks: whether the annotations have masks; else they have boxes alone.
    """

    file: Path
    images: tuple[TruthImage, ...]
    categories: Mapping[int, str]
    annotations: tuple[Mapping[str, Any], ...]
    masks: bool

    def used(self) -> set[int]:
        """Return the numbers of the categories that some annotation is of."""
        return {annotation["category_id"] for annotation in self.annotations}


def read_dataset(file: Path, images: Path | None = None, *, limit: int | None = None) -> Dataset:
    """Read an annotation file and find its images.

    Args:
        file: the annotations in COCO's format.
        images: the directory that their file names start from; None looks beside the annotations.
        limit: take the first images alone.

    Raises:
        ToolError: the file cannot be read or is broken, or images are missing; the message names them.
    """
    document = _document(file)
    names = _categories(file, document["categories"])
    numbers = {identity: number for number, identity in enumerate(names, 1)}
    chosen = _records(file, document["images"], "image")[:limit]
    sizes = [_size(file, record) for record in chosen]
    known = {record["id"]: 0 for record in document["images"]}  # 0: left out by `limit`
    known |= {record["id"]: number for number, record in enumerate(chosen, 1)}
    _check_files(file, chosen)
    paths = _find_images(file, images, [record["file_name"] for record in chosen])
    found = tuple(TruthImage(number, *one) for number, one in enumerate(zip(paths, sizes, strict=True), 1))
    annotations = list(_annotations(file, document["annotations"], found, known, numbers))
    if not annotations:
        raise ToolError(f"{file} has no annotations for its images: there is nothing to judge by")
    with_masks = sum("segmentation" in annotation for annotation in annotations)
    if 0 < with_masks < len(annotations):
        without = len(annotations) - with_masks
        raise ToolError(f"{file}: {without} of {len(annotations)} annotations have no segmentation: give it to all")
    check_units(file, found, annotations)
    return Dataset(
        file,
        found,
        {numbers[identity]: names[identity] for identity in numbers},
        tuple(annotations),
        with_masks > 0,
    )


def _document(file: Path) -> Mapping[str, list[Any]]:
    from maskserve.inputs.image import load_file

    try:
        document: dict[str, list[Any]] = json.loads(load_file(str(file)))
    except InputError as error:
        raise ToolError(f"the annotations cannot be read: {error.message}") from error
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{file} is not JSON, so no COCO annotations: {error}") from error
    if isinstance(document, list):
        raise ToolError(f"{file} is a list, as results are; annotations have images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list) or not document[key]:
            raise ToolError(f"{file} has no list {key!r} with something in it, so it is no file of COCO annotations")
    return document


def _records(file: Path, records: Sequence[Any], what: str) -> list[Mapping[str, Any]]:
    """Check that records are objects with ids, each id once."""
    seen = set()
    for position, record in enumerate(records):
        identity = record.get("id") if isinstance(record, dict) else None
        if _identity(identity) is None:
            raise ToolError(f"{file}: {what} number {position} has no id that is a whole number or a text")
        if identity in seen:
            raise ToolError(f"{file}: two {what} records have the id {identity!r}")
        seen.add(identity)
    return list(records)


def _categories(file: Path, records: Sequence[Any]) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for record in _records(file, records, "category"):
        name = record.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ToolError(f"{file}: the category {record['id']} has no name")
        if name in names.values():
            raise ToolError(f"{file}: two categories are called {name!r}")
        names[record["id"]] = name
    return names


def _identity(value: Any) -> int | str | None:
    """Return an id, which may be a whole number that was written as 1.0; None for what is none."""
    return value if isinstance(value, str) else as_whole(value)


def _size(file: Path, record: Mapping[str, Any]) -> Size:
    size = as_whole(record.get("height")) or 0, as_whole(record.get("width")) or 0
    if not isinstance(record.get("file_name"), str) or not record["file_name"]:
        raise ToolError(f"{file}: the image {record['id']} has no file_name")
    if min(size) < 1:
        name = record["file_name"]
        raise ToolError(f"{file}: the image {record['id']} ({name}) has no height and width in whole pixels")
    return size


def _check_files(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that each file is of one record: with its objects in two, what is found is wrong in one or the other.

    Raises:
        ToolError: two records are of one file.
    """
    seen = dict[str, Any]()
    for record in records:
        name = os.path.normpath(record["file_name"])
        if name in seen:
            both = f"{seen[name]!r} and {record['id']!r}"
            raise ToolError(f"{file}: the images {both} are of one file, {name}: give all of its objects to one")
        seen[name] = record["id"]


def _find_images(file: Path, folder: Path | None, names: Sequence[str]) -> list[Path]:
    """Return the files of all images.

    Raises:
        ToolError: some are missing.
    """
    if folder is not None:
        _check_folder(folder)
    folders = [folder] if folder is not None else list(_usual_folders(file))
    by_folder = {place: [name for name in names if not os.path.isfile(place / name)] for place in folders}
    place = min(by_folder, key=lambda candidate: len(by_folder[candidate]))
    if missing := by_folder[place]:
        where = place if folder is not None or len(missing) < len(names) else " or ".join(map(str, folders))
        told = "" if folder is not None else "; name their directory with --images"
        raise ToolError(
            f"{len(missing)} of {len(names)} images of {file} are not in {where}: {listed(missing, _SHOWN)}{told}"
        )
    return [place / name for name in names]


def _check_folder(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise ToolError(f"the images cannot be looked for in {folder} (--images): {error.strerror}") from error


def _usual_folders(file: Path) -> Iterator[Path]:
    """Yield where images are, as COCO (annotations/instances_val2017.json, val2017/) and PaddleX (images/) have it."""
    here, above = file.parent, file.absolute().parent.parent
    yield from (here, here / "images", above / "images", above)
    if file.stem.startswith("instances_"):
        yield above / file.stem.removeprefix("instances_")


def _annotations(
    file: Path,
    records: Sequence[Any],
    images: Sequence[TruthImage],
    known: Mapping[Any, int],
    categories: Mapping[int | str, int],
) -> Iterator[Mapping[str, Any]]:
    """Yield the annotations of the chosen images.

    Raises:
        ToolError: one is broken; the message names it.
    """
    number = 0
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise ToolError(f"{file}: annotation number {position} is no object")
        what = f"{file}: the annotation {record.get('id', f'number {position}')}"
        image, category = _identity(record.get("image_id")), _identity(record.get("category_id"))
        if image not in known:
            raise ToolError(f"{what} is of the image {image!r}, which the file does not list")
        if category is None or category not in categories:
            raise ToolError(f"{what} is of the category {category!r}, which the file does not list")
        if not known[image]:
            continue
        of, number = images[known[image] - 1], number + 1
        try:
            shape = _shape(record, of.size)
            crowd = flag(record.get("iscrowd"), "iscrowd")
        except BrokenAnnotation as error:
            raise ToolError(f"{what} {error}") from error
        numbers = {"id": number, "image_id": of.number, "category_id": categories[category]}
        yield {**numbers, "iscrowd": crowd, **shape}


def _shape(record: Mapping[str, Any], size: Size) -> Mapping[str, Any]:
    """Return the box, the mask and the area; what an annotation does not say follows from its mask."""
    from pycocotools import mask

    segmentation = record.get("segmentation")
    code = None if segmentation in (None, [], {}) else run_lengths(segmentation, size)
    if record.get("bbox") is not None:
        box = box_of(record["bbox"])
    elif code is not None:
        box = mask.toBbox(code).tolist()
    else:
        raise BrokenAnnotation("has neither a segmentation nor a bbox")
    area = record.get("area")
    if not isinstance(area, int | float) or isinstance(area, bool) or not 0 < area < math.inf:
        area = float(mask.area(code)) if code is not None else box[2] * box[3]
    return {"bbox": box, "area": area, **({} if code is None else {"segmentation": code})}
