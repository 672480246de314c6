"""Everything that `predict` accepts, as a stream of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve import _tiff
from maskserve._pictures import Picture, as_bgr, load_file, load_pil
from maskserve.errors import InputError

if TYPE_CHECKING:
    from typing import NoReturn

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff"})
_MAX_PATH = 4096  # characters, which no system's paths have more of; a picture as base64 has


def pictures(source: Any) -> Iterator[Picture]:
    """The pictures in `source`, in order. Nothing is read before it is asked for.

    Args:
        source: an array (BGR), a path, a URL, a directory (searched recursively, in sorted order), a PDF or TIFF file
            of several pages, the bytes of a file, a PIL image, a dict with one of these under "img" or "input", or
            any iterable of them. Pictures themselves pass through.

    Yields:
        pictures; one that cannot be had yields too, and raises `InputError` when it is loaded.
    """
    if isinstance(source, np.ndarray):
        # a copy: the caller may fill the same buffer again while the request is under way
        yield Picture(partial(as_bgr, source.copy()))
    elif isinstance(source, str | os.PathLike):
        yield from _from_text(os.fspath(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        yield from _from_bytes(bytes(source))
    elif isinstance(source, Mapping):
        yield from _from_mapping(source)
    elif _is_pil(source):
        yield Picture(partial(load_pil, source))
    elif isinstance(source, Picture):
        yield source
    elif isinstance(source, Iterable):
        for element in source:
            yield from pictures(element)
    else:
        yield _failing(
            f"{type(source).__name__} is not a picture: give an array, a path, a URL, bytes or a list of them"
        )


def _from_text(text: str | bytes) -> Iterator[Picture]:
    path = os.fsdecode(text)
    scheme = path.partition("://")[0].lower() if "://" in path else ""
    if scheme in ("http", "https"):
        from maskserve._fetch import Download

        yield Picture(Download(path), path)
    elif scheme:
        yield _failing(f"{path!r}: only http and https addresses are fetched", path)
    elif os.path.isdir(path):
        yield from _from_directory(path)
    elif path.lower().endswith(".pdf"):
        yield from _from_pdf(path)
    elif not path:
        yield _failing("the path of the picture is empty", path)
    elif len(path) > _MAX_PATH or path.startswith("data:"):
        yield _failing(f"{path[:40]!r}... is no path; if it is base64, pass the bytes: base64.b64decode(...)")
    else:
        yield from _from_file(path)


def _from_file(path: str) -> Iterator[Picture]:
    if path.lower().endswith((".tif", ".tiff")):
        yield from _from_tiff(path)
    else:
        yield Picture(partial(load_file, path), path)


def _from_directory(directory: str) -> Iterator[Picture]:
    found = sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")  # such as macOS's ._photo.jpg
    )
    if not found:
        yield _failing(f"no pictures in the directory {directory!r}", directory)
    for path in found:
        yield from _from_file(path)


def _from_mapping(source: Mapping[Any, Any]) -> Iterator[Picture]:
    values = [source[key] for key in ("img", "input") if key in source]
    if len(values) == 1:
        yield from pictures(values[0])
    else:
        yield _failing(f'a dict must hold the picture under "img" or "input"; this one has {sorted(map(str, source))}')


def _from_bytes(content: bytes) -> Iterator[Picture]:
    if content.startswith(b"%PDF-"):
        yield from _from_pdf(content)
    elif content.startswith(_tiff.SIGNATURES):
        yield from _from_tiff(content)
    else:
        yield Picture(partial(bytes, content))


def _from_pdf(document: str | bytes) -> Iterator[Picture]:
    from maskserve._pdf import count_pages, load_page

    path = document if isinstance(document, str) else None
    try:
        count = count_pages(document)
    except InputError as error:
        yield Picture(partial(_fail, error), path)
        return
    for index in range(count):
        yield Picture(partial(load_page, document, index), path, index)


def _from_tiff(document: str | bytes) -> Iterator[Picture]:
    path = document if isinstance(document, str) else None
    load = partial(load_file, document) if isinstance(document, str) else partial(bytes, document)
    try:
        count = _tiff.count_pages(load())
    except InputError:
        count = 1
    if count == 1:  # sent as it is
        yield Picture(load, path)
        return
    for index in range(count):
        yield Picture(partial(_tiff.load_page, document, index), path, index)


def _is_pil(source: Any) -> bool:
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(source).__mro__)


def _failing(message: str, path: str | None = None) -> Picture:
    return Picture(partial(_fail, InputError(message)), path)


def _fail(error: InputError) -> NoReturn:
    raise error
