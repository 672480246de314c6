"""Everything that `predict` accepts, as a stream of images."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from maskserve.errors import InputError, InvalidImage, InvalidParameter
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.folders import IMAGE_SUFFIXES, images_in
from maskserve.inputs.formats import HEAD_BYTES, format_of
from maskserve.inputs.held import held
from maskserve.inputs.image import InputImage, as_bgr, load_file
from maskserve.inputs.pil import file_of, is_pil, load_pil, lost_file
from maskserve.inputs.unwrap import unwrapped
from maskserve.inputs.urls import shown
from maskserve.inputs.video import STREAMS, file_frames, is_video, live_frames

if TYPE_CHECKING:
    from typing import NoReturn

# Addresses that end so are fetched when their turn comes; all others at once, to see whether they have several pages.
_SINGLE_SUFFIXES = IMAGE_SUFFIXES - {".tif", ".tiff"}
_CONTAINERS = (list, tuple, set, frozenset, deque)
_MAX_PATH = 4096  # characters, which no system's paths have more of; an image as base64 has


def images(source: Any) -> Generator[InputImage, None, None]:
    """Yield the images in `source`, in order. Nothing is taken before it is asked for.

    What is in memory is what it is at this moment, whatever the caller makes of it afterwards: arrays and bytes that
    can change are copied, and PIL images, which are lazy, too, are loaded. Addresses and files are read later, but for
    the files whose paths an iterator gives: it may write its next image into the same file.

    Args:
        source: an array (BGR), a path, a URL, a directory (searched recursively, in sorted order), a PDF or TIFF file
            of several pages, a video file, the number of a camera, the address of a stream (such as ``rtsp://``), the
            bytes of a file, an open file, a PIL image, whatever numpy takes for an array (such as a tensor), a dict
            with one of these under "img" or "input", or any iterable of them. Images themselves pass through. What a
            file is, its content says.

    Yields:
        images; one that cannot be had yields too, and raises `InputError` when it is loaded.
    """
    try:
        source = unwrapped(source)
    except InputError as error:
        yield InputImage(partial(_fail, error))
        return
    if isinstance(source, np.ndarray):
        # a copy: the caller may fill the same buffer again while the request is under way
        yield InputImage(partial(as_bgr, source.copy()))
    elif isinstance(source, str | os.PathLike):
        yield from _from_path(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield from _from_buffer(source)
    elif isinstance(source, Mapping):
        yield from _from_mapping(source)
    elif is_pil(source):
        yield _pinned(source)
    elif isinstance(source, InputImage):
        yield source
    elif isinstance(source, int) and not isinstance(source, bool) and source >= 0:
        yield from live_frames(source, f"camera {source}")
    elif isinstance(source, Iterable) or _is_sequence(source):
        yield from _from_iterable(source)
    else:
        yield _no_image(source)


def only_image(source: Any) -> InputImage:
    """Return the one image in `source`, which is anything that `images` takes.

    Raises:
        InvalidParameter: there is none in it, or several.
    """
    with closing(images(source)) as found:
        first, second = next(found, None), next(found, None)
    if first is None or second is not None:
        name = shown(os.fsdecode(source)) if isinstance(source, str | os.PathLike) else type(source).__name__
        count = "no" if first is None else "more than one"
        raise InvalidParameter(f"{name} has {count} image, and segment() takes one image: predict() takes any number")
    return first


def _is_sequence(source: Any) -> bool:
    """Return whether `source` is a sequence by its methods alone, as PyTorch's data sets are."""
    kind = type(source)
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__")


def _from_iterable(source: Iterable[Any]) -> Iterator[InputImage]:
    if isinstance(source, _CONTAINERS):
        for element in tuple(source):  # what the caller adds or removes meanwhile does not count
            yield from _from_element(element)
    else:
        for element in source:
            yield from held(element, _from_element(element))


def _from_element(element: Any) -> Iterator[InputImage]:
    """Yield the images in an element of a list: numbers are pixels there rather than cameras."""
    yield from images(element) if not isinstance(element, int | np.integer) else (_no_image(element),)


def _from_path(source: str | os.PathLike[Any]) -> Iterator[InputImage]:
    try:
        path = os.fsdecode(source)
    except TypeError as error:  # an object whose path is none
        yield _failing(f"{type(source).__name__} has no path: {error}")
        return
    scheme = path.strip().partition("://")[0].lower() if "://" in path else ""
    if scheme in ("http", "https"):
        yield from _from_url(path)
    elif scheme in STREAMS:
        yield from live_frames(path, path)
    elif scheme == "file":
        yield _failing(f"{path!r}: only http and https addresses are fetched; give the path of the file", path)
    elif scheme:
        yield _failing(f"{shown(path)!r}: only http and https addresses are fetched", path)
    elif os.path.isdir(path):
        yield from _from_directory(path)
    elif not path:
        yield _failing("the path of the image is empty", path)
    elif len(path) > _MAX_PATH or path.startswith("data:"):
        yield _failing(f"{path[:40]!r}... is no path; if it is base64, pass the bytes: base64.b64decode(...)")
    else:
        yield from _from_file(path)


def _from_file(path: str) -> Iterator[InputImage]:
    place = _absolute(path)
    head = _head(place)
    kind = format_of(head)
    if is_video(head):
        yield from file_frames(place, path)
    elif kind == "PDF":
        yield from _from_pdf(place, path)
    elif kind == "TIFF":
        yield from _from_tiff(place, path)
    else:
        yield InputImage(partial(load_file, place, path), path)


def _absolute(path: str) -> str:
    """Return where `path` leads to now: the program may have another directory when the file is read."""
    try:
        return os.path.abspath(path)
    except OSError:  # the directory is gone
        return path


def _head(path: str) -> bytes:
    """Return the first bytes of a file; none of what is no file or cannot be read, which `load_file` says."""
    try:
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return file.read(HEAD_BYTES)
    except (OSError, ValueError):
        pass
    return b""


def _from_url(url: str) -> Iterator[InputImage]:
    from maskserve.inputs.download import Download

    download = Download(url)
    if Path(unquote(re.split("[?#]", url, maxsplit=1)[0])).suffix.lower() in _SINGLE_SUFFIXES:
        yield InputImage(download, url)
        return
    try:
        content = download()
    except InputError as error:
        yield InputImage(partial(_fail, error), url)
        return
    yield from _from_bytes(content, url)


def _from_directory(directory: str) -> Iterator[InputImage]:
    refused: list[InputImage] = []
    empty = True
    for path in images_in(directory, lambda path, error: refused.append(InputImage(partial(_fail, error), path))):
        empty = False
        yield from _from_file(path)
    if empty and not refused:
        yield _failing(f"no images in the directory {directory!r}", directory)
    yield from refused


def _from_mapping(source: Mapping[Any, Any]) -> Iterator[InputImage]:
    values = [source[key] for key in ("img", "input") if key in source]
    if len(values) == 1:
        yield from images(values[0])
    else:
        yield _failing(f'a dict must hold the image under "img" or "input"; this one has {sorted(map(str, source))}')


def _from_buffer(source: bytes | bytearray | memoryview) -> Iterator[InputImage]:
    try:
        content = bytes(source)
    except ValueError as error:  # a memoryview that was released
        yield _failing(f"the bytes of the image cannot be read: {error}")
        return
    yield from _from_bytes(content)


def _from_bytes(content: bytes, path: str | None = None) -> Iterator[InputImage]:
    kind = format_of(content)
    if kind == "PDF":
        yield from _from_pdf(content, path)
    elif kind == "TIFF":
        yield from _from_tiff(content, path)
    elif is_video(content[:HEAD_BYTES]):
        what = "these bytes are" if path is None else f"{shown(path)!r} is"
        yield _failing(f"{what} a video: save it to a file, and give the path of that", path)
    else:
        yield InputImage(partial(bytes, content), path)


def _from_pdf(document: str | bytes, path: str | None) -> Iterator[InputImage]:
    from maskserve.inputs.pdf import count_pages, load_page

    try:
        count = count_pages(document)
    except InputError as error:
        yield InputImage(partial(_fail, error), path)
        return
    for index in range(count):
        yield InputImage(partial(load_page, document, index), path, index)


def _from_tiff(document: str | bytes, path: str | None) -> Iterator[InputImage]:
    try:
        count = _tiff.count_pages(_content_of(document, path))
    except InputError as error:
        yield InputImage(partial(_fail, error), path)
        return
    for index in range(count):
        yield InputImage(partial(_tiff_page, document, index, path), path, index if count > 1 else None)


def _tiff_page(document: str | bytes, index: int, path: str | None) -> bytes:
    return _tiff.load_page(_content_of(document, path), index)


def _content_of(document: str | bytes, path: str | None) -> bytes:
    return load_file(document, path) if isinstance(document, str) else document


def _pinned(image: Any) -> InputImage:
    """Return a PIL image as it is now."""
    try:
        content = file_of(image)
        if content is not None:
            return InputImage(partial(bytes, content))
        pixels = load_pil(image)
    except InputError as error:
        return InputImage(partial(_fail, error))
    except Exception as error:  # the words of whichever plugin reads its file
        said = str(error) or type(error).__name__
        why = "its file was closed before it was read; call its load() first" if lost_file(image) else said
        return InputImage(partial(_fail, InvalidImage(f"the PIL image cannot be read: {why}")))
    return InputImage(partial(np.asarray, pixels))


def _no_image(source: Any) -> InputImage:
    if isinstance(source, AsyncIterable):
        return _failing(f"{type(source).__name__} is read asynchronously: give it to AsyncPipeline.predict")
    if isinstance(source, Awaitable):
        return _failing(f"{type(source).__name__} is no image yet: give what awaiting it returns")
    return _failing(f"{type(source).__name__} is not an image: give an array, a path, a URL, bytes or a list of them")


def _failing(message: str, path: str | None = None) -> InputImage:
    return InputImage(partial(_fail, InputError(message)), path)


def _fail(error: InputError) -> NoReturn:
    raise error
