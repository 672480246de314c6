"""Arrays, files and objects that are no image: one typed error, at its place, that names the remedy."""

from __future__ import annotations

import array
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.given_arrays import BGR, PNG, Tensor

from maskserve.errors import InputError, InvalidImage
from maskserve.inputs.sources import images


class OnDevice(Tensor):
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


FILLING = "images are uint8 from 0 to 255"
BAD = {
    "bool": (BGR > 9, r"bool is not an image.*astype\('uint8'\) \* 255"),
    "uint16": (BGR.astype(np.uint16), r"uint16 is not an image.*array >> 8"),
    "big-endian uint16": (BGR.astype(">u2"), r">u2 is not an image.*array >> 8"),
    "int64": (BGR.astype(np.int64), rf"int64 is not an image: {FILLING}.*clip"),
    "float from 0 to 1": (BGR / 255, rf"float64 is not an image: {FILLING}.*multiplied by 255 if it is from 0 to 1"),
    "float from 0 to 255": (BGR.astype(np.float32), rf"float32 is not an image: {FILLING}"),
    "not a number": (np.full((4, 4), np.nan), rf"float64 is not an image: {FILLING}"),
    "batch of one": (BGR[None], r"shape \[1, 7, 5, 3\].*this is a batch, give list\(array\)"),
    "channels first": (BGR.transpose(2, 0, 1), r"shape \[3, 7, 5\].*channels come last.*moveaxis\(array, 0, -1\)"),
    "float tensor, channels first": (Tensor(BGR.transpose(2, 0, 1) / 255), "channels come last"),
    "one channel first": (BGR[None, :, :, 0], "channels come last"),
    "grey and alpha": (BGR[:, :, :2], r"array\[:, :, 0\]"),
    "structure": (np.zeros((4, 4), [("r", "u1"), ("g", "u1")]), "is not an image"),
    "complex": (BGR.astype(complex), "complex128 is not an image"),
    "tensor on a device": (OnDevice(BGR), r"OnDevice cannot be read as an array \(can't.*detach\(\)\.cpu\(\)"),
    "tensor of a batch": (Tensor(np.stack([BGR, BGR])), r"this is a batch"),
    "array of floats in a buffer": (array.array("d", [0.5, 1.0]), r"shape \[2\]"),
}


@pytest.mark.parametrize(("source", "message"), BAD.values(), ids=BAD)
def test_an_array_of_another_kind_is_one_error_with_its_remedy(source: Any, message: str) -> None:
    before, bad, after = images([BGR, source, BGR])
    with pytest.raises(InvalidImage, match=message):
        bad.encoded()
    assert before.encoded() == after.encoded()


@pytest.mark.parametrize("source", [BGR.tolist(), BGR[0, 0].tolist(), tuple(BGR[0, 0])], ids=["image", "list", "tuple"])
def test_nested_lists_of_numbers_are_one_error(source: Any) -> None:
    (bad,) = images(source)
    with pytest.raises(InputError, match=r"a list of numbers is not an image: give numpy\.array"):
        bad.encoded()


def test_a_number_among_images_is_the_error_of_its_place() -> None:
    bad, good = images([7, BGR])
    with pytest.raises(InputError, match="int is not an image"):
        bad.encoded()
    assert np.array_equal(good.bgr(), BGR)


class Upload:
    """As web frameworks hand them to handlers."""

    async def read(self) -> bytes:
        return PNG


class Empty:
    def read(self) -> None:
        """Nothing is there yet, as non-blocking files say."""


class Capture:
    """As cv2.VideoCapture."""

    def read(self) -> tuple[bool, None]:
        return True, None


def closed() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


BAD_FILES = {
    "text": (lambda: io.StringIO("text"), "text mode: open it with mode 'rb'"),
    "closed": (closed, "cannot be read: I/O operation on closed file"),
    "asynchronous": (Upload, r"the bytes, as await file\.read\(\) has them"),
    "nothing": (Empty, "gives NoneType instead of bytes"),
    "video": (Capture, "give what it was opened with, or its frames, as a generator"),
}


@pytest.mark.parametrize(("source", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_read_is_one_error(source: Any, message: str) -> None:
    bad, good = images([source(), BGR])
    with pytest.raises(InputError, match=message):
        bad.encoded()
    assert np.array_equal(good.bgr(), BGR)


@pytest.mark.parametrize(
    "source", [np.float32(3), np.uint8(3), Tensor, object()], ids=["float32", "uint8", "a class", "an object"]
)
def test_what_is_no_image_is_one_error(source: Any) -> None:
    (bad,) = images(source)
    with pytest.raises(InputError, match="is not an image"):
        bad.encoded()


def test_an_array_of_a_files_bytes_says_what_to_give() -> None:
    (bad,) = images(np.frombuffer(PNG, np.uint8))
    with pytest.raises(InputError, match=r"of the bytes of a file, give array\.tobytes\(\)"):
        bad.encoded()


def test_numbers_in_an_array_of_objects_are_one_error() -> None:
    (image,) = images(BGR.astype(object))
    with pytest.raises(InputError, match="a list of numbers is not an image"):
        image.encoded()


class NoPath:
    def __fspath__(self) -> int:
        return 3


async def some() -> Any:
    yield BGR


async def later() -> Any:
    return BGR


REMEDIES = {
    "asynchronous generator": (some, "give it to AsyncPipeline.predict"),
    "coroutine": (later, "give what awaiting it returns"),
    "address of a file": (lambda: "file:///photos/a.png", "give the path of the file"),
    "home": (lambda: "~/a.png", "expanduser"),
    "no path": (NoPath, "NoPath has no path"),
    "a device": (lambda: "/dev/zero", "is a device"),
}


@pytest.mark.parametrize(("make", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_what_cannot_be_read_names_the_remedy(make: Any, remedy: str) -> None:
    source = make()
    (image,) = images(source)
    with pytest.raises(InputError, match=remedy):
        image.encoded()
    if remedy == REMEDIES["coroutine"][1]:
        source.close()


def test_a_file_that_is_open_for_writing_says_so(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        (image,) = images(file)
        with pytest.raises(InputError, match="open for writing only: open it with mode 'rb'"):
            image.encoded()
