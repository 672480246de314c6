"""LabelMe annotations."""

from __future__ import annotations

import base64
import json
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.exports.common import Segmented, one_result, outlines
from maskserve.saving.files import replacing

if TYPE_CHECKING:
    from maskserve.exports.common import Outcomes, Parts
    from maskserve.results import InstanceSegResult


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def to_labelme(result: InstanceSegResult, *, parts: Parts = "split") -> dict[str, Any]:
    """Return a LabelMe annotation, the content of a file that is to be saved beside the image.

    An image that is no file (an array, a URL, a page of a document) is embedded as a PNG, and so is a TIFF file, which
    LabelMe does not always turn upright. `save_labelme` writes it to a file of its own.

    Args:
        result: the image's result.
        parts: "split" for a polygon for each part of an instance, with one `group_id` and their holes filled; "join"
            for one with all parts and holes, connected by lines of no width; "largest" for the largest part.

    Raises:
        InputError: the image is to be embedded and cannot be read any more.
        InvalidParameter: there is no such form of parts, or this is no result.
    """
    file = _file(one_result(result))
    if file is not None:
        return _document(result, parts, Path(file).name)
    return _document(result, parts, f"{result.stem}.png", base64.b64encode(_png(result)).decode("ascii"))


def save_labelme(results: Outcomes, folder: str | os.PathLike[str], *, parts: Parts = "split") -> list[Path]:
    """Write a LabelMe annotation for each image.

    The annotation refers to the image's own file. An image that is no file (an array, a URL, a page of a document),
    or a TIFF file, which LabelMe does not always turn upright, is written beside it as a PNG.

    Args:
        results: any number of results, or one. Failures are left out; how many there were is logged as a warning.
        folder: where to write; made if it is missing. The files are called as the images; where two would be called
            the same, the later ones end with _2, _3 and so on.
        parts: as in `to_labelme`.

    Returns:
        the annotations' files.

    Raises:
        InputError: an image that is to be written cannot be read any more, or a file cannot be written.
    """
    target, taken = Path(folder), set[str]()
    written = []
    for result in Segmented(results, str(target)):
        file = _file(result)
        image = None if file is not None else _png(result)
        stem = _free_stem(target, result.stem, taken, image)
        if image is not None:
            with replacing(target / f"{stem}.png") as scratch:
                scratch.write_bytes(image)
        shown = f"{stem}.png" if file is None else _relative(file, target)
        path = target / f"{stem}.json"
        with replacing(path) as scratch:
            scratch.write_text(json.dumps(_document(result, parts, shown), indent=2), encoding="ascii")
        written.append(path)
    return written


def _document(
    result: InstanceSegResult, parts: Parts, image_path: str, image_data: str | None = None
) -> dict[str, Any]:
    height, width = result.instances.image_size
    shapes = [
        {
            "label": instance.label,
            "points": outline.astype(float).tolist(),
            "group_id": number,
            "shape_type": "polygon",
            "flags": {},
            "description": f"{instance.score:.4f}",
        }
        for number, instance in enumerate(result.instances)
        for outline in outlines(instance.mask, parts)
    ]
    return {
        "version": "5.0.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": image_data,
        "imageHeight": height,
        "imageWidth": width,
    }


def _file(result: InstanceSegResult) -> str | None:
    """Return the file that LabelMe can show as it was segmented, if there is one."""
    file = result.file
    try:
        with open(file or os.devnull, "rb") as opened:
            return None if opened.read(4) in _TIFF else file
    except OSError:  # it may be there again when LabelMe looks for it
        return file


def _png(result: InstanceSegResult) -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(result.pixels()[:, :, ::-1]).save(file, "PNG")
    return file.getvalue()


def _free_stem(folder: Path, stem: str, taken: set[str], image: bytes | None) -> str:
    """Return a name that no other annotation of this run has, and no other image in the folder."""
    name, number = stem, 1
    while name.casefold() in taken or (image is not None and _is_other(folder / f"{name}.png", image)):
        number += 1
        name = f"{stem}_{number}"
    taken.add(name.casefold())
    return name


def _is_other(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() != content


def _relative(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive
        return Path(file).absolute().as_posix()
