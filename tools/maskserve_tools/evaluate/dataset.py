"""A COCO data set as it is judged: checked, and with numbers of our own.

pycocotools trusts its input. An annotation with the id 0 counts as one that is never found, run lengths of another size
are compared with nothing, and a missing key is a KeyError. So everything is checked here, and numbered from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import InputError, ToolError, listed
from maskserve_tools.evaluate.segmentation import BrokenAnnotation, Size, box_of, run_lengths, whole_number

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
        categories: the names by their numbers, which are from 1, in the order of the ids in the file.
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
    numbers = {identity: number for number, identity in enumerate(sorted(names, key=_in_order), 1)}
    chosen = _records(file, document["images"], "image")[:limit]
    sizes = [_size(file, record) for record in chosen]
    known = {record["id"]: 0 for record in document["images"]}  # 0: left out by `limit`
    known |= {record["id"]: number for number, record in enumerate(chosen, 1)}
    paths = _find_images(file, images, [record["file_name"] for record in chosen])
    found = tuple(TruthImage(number, *one) for number, one in enumerate(zip(paths, sizes, strict=True), 1))
    annotations = list(_annotations(file, document["annotations"], found, known, numbers))
    if not annotations:
        raise ToolError(f"{file} has no annotations for its images: there is nothing to judge by")
    with_masks = sum("segmentation" in annotation for annotation in annotations)
    if 0 < with_masks < len(annotations):
        without = len(annotations) - with_masks
        raise ToolError(f"{file}: {without} of {len(annotations)} annotations have no segmentation: give it to all")
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
        if not isinstance(identity, int | str) or isinstance(identity, bool):
            raise ToolError(f"{file}: {what} number {position} has no id")
        if identity in seen:
            raise ToolError(f"{file}: two {what} records have the id {identity}")
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


def _in_order(identity: int | str) -> tuple[bool, int, str]:
    return (True, 0, identity) if isinstance(identity, str) else (False, identity, "")


def _size(file: Path, record: Mapping[str, Any]) -> Size:
    size = whole_number(record.get("height")), whole_number(record.get("width"))
    if not isinstance(record.get("file_name"), str) or not record["file_name"]:
        raise ToolError(f"{file}: the image {record['id']} has no file_name")
    if min(size) < 1:
        raise ToolError(f"{file}: the image {record['id']} ({record['file_name']}) has no height and width in pixels")
    return size


def _find_images(file: Path, folder: Path | None, names: Sequence[str]) -> list[Path]:
    """Return the files of all images.

    Raises:
        ToolError: some are missing.
    """
    folders = [folder] if folder is not None else list(_usual_folders(file))
    by_folder = {place: [name for name in names if not (place / name).is_file()] for place in folders}
    place = min(by_folder, key=lambda candidate: len(by_folder[candidate]))
    if missing := by_folder[place]:
        where = place if folder is not None or len(missing) < len(names) else " or ".join(map(str, folders))
        told = "" if folder is not None else "; name their directory with --images"
        raise ToolError(
            f"{len(missing)} of {len(names)} images of {file} are not in {where}: {listed(missing, _SHOWN)}{told}"
        )
    return [place / name for name in names]


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
        image, category = _hashable(record.get("image_id")), _hashable(record.get("category_id"))
        if image not in known:
            raise ToolError(f"{what} is of the image {image}, which the file does not list")
        if category not in categories:
            raise ToolError(f"{what} is of the category {category}, which the file does not list")
        if not known[image]:
            continue
        of, number = images[known[image] - 1], number + 1
        try:
            shape = _shape(record, of.size)
        except BrokenAnnotation as error:
            raise ToolError(f"{what} {error}") from error
        numbers = {"id": number, "image_id": of.number, "category_id": categories[category]}
        yield {**numbers, "iscrowd": int(bool(record.get("iscrowd"))), **shape}


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | str) else None


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
    if not isinstance(area, int | float) or isinstance(area, bool) or not area >= 0:
        area = float(mask.area(code)) if code is not None else box[2] * box[3]
    return {"bbox": box, "area": area, **({} if code is None else {"segmentation": code})}
