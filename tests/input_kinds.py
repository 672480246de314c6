"""Every kind of input that PaddleX's pipelines were given, and what ours makes of it: one table for every transport."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve.errors import InputError, InvalidImage
from maskserve.pipeline import Pipeline
from maskserve.results import InstanceSegResult

SIZE = (120, 160)
LYING = SIZE[::-1]
PIXELS: Any = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3).astype(np.uint8)
GREY = PIXELS[:, :, 1]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files are: in a folder, and at an address."""

    folder: Path
    url: str

    def path(self, name: str) -> str:
        """The path of a file."""
        return str(self.folder / name)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of input and what comes of it.

    Attributes:
        source: makes the input.
        sources: where each result says it came from: a file's name, an address's, or None; with a page after "#".
        size: of the images.
        error: raised after these results.
        message: what it says.
    """

    source: Callable[[Place], Any]
    sources: tuple[str | None, ...] = ()
    size: tuple[int, int] = SIZE
    error: type[InputError] | None = None
    message: str = ""


def _file(name: str, **expected: Any) -> Kind:
    return Kind(lambda place: place.path(name), (name,), **expected)


def _array(array: Any, size: tuple[int, int] = SIZE) -> Kind:
    return Kind(lambda _: array, (None,), size)


def _refused(source: Any, message: str, error: type[InputError] = InputError) -> Kind:
    return Kind(source if callable(source) else lambda _: source, error=error, message=message)


PNG = cv2.imencode(".png", PIXELS)[1].tobytes()
ALBUM = ("album/D.PNG", "album/b.png", "album/in/a.jpg")

KINDS = {
    "array": _array(PIXELS),
    "array [h, w]": _array(GREY),
    "array [h, w, 1]": _array(GREY[:, :, None]),
    "array [h, w, 4]": _array(np.dstack([PIXELS, GREY])),
    "array mirrored": _array(PIXELS[:, ::-1]),
    "array [1, 1, 3]": _array(PIXELS[:1, :1], (1, 1)),
    "array float32": _refused(PIXELS.astype(np.float32), "float32 is not an image", InvalidImage),
    "array [0, 0, 3]": _refused(PIXELS[:0, :0], "has no pixels", InvalidImage),
    **{f"file {name}": _file(name) for name in ("a.jpg", "a.jpeg", "a.png", "a.bmp", "a.webp", "a.tif", "a.dib")},
    **{f"file {name}": _file(name) for name in ("B.PNG", "B.BMP", "B.JPG", "a.jfif", "no suffix", "straße 照.png")},
    **{f"file {name}": _file(name) for name in ("grey.png", "rgba.png", "deep.png")},
    "image lying on its side": _file("turned.jpg", size=LYING),
    "pages of a TIFF file": Kind(lambda place: place.path("two.tiff"), ("two.tiff#0", "two.tiff#1")),
    "directory": Kind(lambda place: place.path("album"), ALBUM),
    "directory with a slash": Kind(lambda place: place.path("album") + "/", ALBUM),
    "directory without images": _refused(lambda place: place.path("nothing"), "no images in the directory"),
    "file that is missing": _refused(lambda place: place.path("missing.jpg"), "no such file or directory"),
    "name without suffix that is missing": _refused(lambda place: place.path("missing"), "no such file or directory"),
    "empty path": _refused("", "the path of the image is empty"),
    "pattern": _refused(lambda place: place.path("*.png"), "patterns are not expanded"),
    "base64": _refused(base64.b64encode(PIXELS).decode(), r"^'.{40}'\.\.\. is no path; .* base64\.b64decode"),
    "data address": _refused("data:image/png;base64,iVBORw0KGgo=", r"is no path; .* base64\.b64decode"),
    **{
        f"file {name}": _refused(lambda place, name=name: place.path(name), name, InvalidImage)
        for name in ("text.jpg", "text.txt", "truncated.png", "empty.jpg", "video.mp4")
    },
    "address": Kind(lambda place: f"{place.url}/a.png", ("/a.png",)),
    "address with a query": Kind(lambda place: f"{place.url}/a.png?x=1", ("/a.png?x=1",)),
    "address without suffix": Kind(lambda place: f"{place.url}/no%20suffix", ("/no%20suffix",)),
    "address of nothing": _refused(lambda place: f"{place.url}/missing.png", "404"),
    "address of text": _refused(lambda place: f"{place.url}/text.txt", "/text.txt: ", InvalidImage),
    "address where nobody answers": _refused("http://127.0.0.1:9/a.png", "refused"),
    "address of another kind": _refused("ftp://example.org/a.png", "only http and https"),
    "dict img": Kind(lambda place: {"img": place.path("a.png")}, ("a.png",)),
    "dict img, array": Kind(lambda _: {"img": PIXELS}, (None,)),
    "dict img, directory": Kind(lambda place: {"img": place.path("album")}, ALBUM),
    "dict input": Kind(lambda place: {"input": place.path("a.png")}, ("a.png",)),
    "dict of something else": _refused({"image": "a.png"}, r"under \"img\" or \"input\"; this one has \['image'\]"),
    "dict of nothing": _refused({}, r"this one has \[\]"),
    "dict img None": _refused({"img": None}, "NoneType is not an image"),
    "list of arrays": Kind(lambda _: [PIXELS, PIXELS], (None, None)),
    "list of paths": Kind(lambda place: [place.path("a.png"), place.path("a.jpg")], ("a.png", "a.jpg")),
    "list of directories": Kind(lambda place: [place.path("album")] * 2, ALBUM * 2),
    "list of dicts": Kind(lambda place: [{"img": place.path("a.png")}, {"input": PIXELS}], ("a.png", None)),
    "list mixed": Kind(
        lambda place: [PIXELS, place.path("album"), f"{place.url}/a.png", PNG], (None, *ALBUM, "/a.png", None)
    ),
    "list nested": Kind(lambda place: [[PIXELS], [[place.path("a.png")], []]], (None, "a.png")),
    "list empty": Kind(lambda _: []),
    "list good, bad, good": Kind(
        lambda place: [place.path("a.png"), place.path("text.jpg"), PIXELS], ("a.png",), SIZE, InvalidImage, "text.jpg"
    ),
    "tuple": Kind(lambda place: (PIXELS, place.path("a.png")), (None, "a.png")),
    "generator": Kind(lambda place: (place.path(name) for name in ("a.png", "a.jpg")), ("a.png", "a.jpg")),
    "pathlib.Path": Kind(lambda place: place.folder / "a.png", ("a.png",)),
    "pathlib.Path of a directory": Kind(lambda place: place.folder / "album", ALBUM),
    "bytes": Kind(lambda _: PNG, (None,)),
    "bytearray": Kind(lambda _: bytearray(PNG), (None,)),
    "memoryview": Kind(lambda _: memoryview(PNG), (None,)),
    "bytes of text": _refused(b"text", "image", InvalidImage),
    "no bytes": _refused(b"", "image", InvalidImage),
    "PIL": Kind(lambda place: Image.open(place.path("a.png")), (None,)),
    "None": _refused(None, "NoneType is not an image"),
    "number": _refused(-7, "int is not an image"),
}


def make_place(folder: Path) -> None:
    """Make the files of the table in `folder`."""
    for name in ("a.jpg", "a.jpeg", "a.png", "a.bmp", "a.webp", "a.tif", "B.PNG", "B.BMP", "B.JPG", *ALBUM):
        _write(folder / name, PIXELS)
    _write(folder / "straße 照.png", PIXELS)
    _write(folder / "grey.png", GREY)
    _write(folder / "rgba.png", np.dstack([PIXELS, GREY]))
    _write(folder / "deep.png", PIXELS.astype(np.uint16) * 257)
    for copy, original in (("a.dib", "a.bmp"), ("a.jfif", "a.jpg"), ("no suffix", "a.png")):
        (folder / copy).write_bytes((folder / original).read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    Image.fromarray(PIXELS).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(PIXELS).save(folder / "two.tiff", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])])
    for name in ("text.jpg", "text.txt", "album/text.txt"):
        (folder / name).write_text("text")
    (folder / "truncated.png").write_bytes(PNG[:60])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    (folder / "nothing").mkdir()


def _write(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def website(folder: Path) -> Iterator[str]:
    """The files in `folder`, at an address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def source_of(result: Any, place: Place) -> str | None:
    """Where a result says it came from, as the table has it."""
    source = result["input_path"]
    if source is None:
        return None
    page = "" if result.get("page_index") is None else f"#{result['page_index']}"
    return str(source).removeprefix(f"{place.folder}/").removeprefix(place.url) + page


def taken(pipeline: Pipeline, kind: Kind, place: Place) -> list[InstanceSegResult]:
    """The results for a kind of input, up to the error that the table has for it."""
    found: list[InstanceSegResult] = []
    results = pipeline.predict(kind.source(place))
    if kind.error is None:
        return list(results)
    with pytest.raises(kind.error, match=kind.message) as caught:
        found.extend(results)
    assert type(caught.value) is kind.error
    return found
