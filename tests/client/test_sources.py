"""Arrays, tensors, buffers and open files: the right image, or one typed error that names the remedy."""

from __future__ import annotations

import array
import io
import mmap
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve.errors import InputError, InvalidImage
from maskserve.inputs.sources import images

BGR = np.random.default_rng(5).integers(0, 256, (7, 5, 3), np.uint8)
PNG = cv2.imencode(".png", BGR)[1].tobytes()


class Tensor:
    """What libraries of tensors have in common: an `__array__`, and elements."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    def __iter__(self) -> Any:
        return iter([Tensor(value) for value in self.values])

    def __len__(self) -> int:
        return len(self.values)


class OnDevice(Tensor):
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


class Interface:
    def __init__(self, values: np.ndarray) -> None:
        self.__array_interface__ = values.__array_interface__
        self.kept = values


class Capsule:
    """Only DLPack, as some libraries of GPUs have it."""

    def __dlpack__(self, **options: Any) -> Any:
        return BGR.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return BGR.__dlpack_device__()


def one(source: Any) -> np.ndarray:
    (image,) = images(source)
    assert image.input_path is None
    sent = cv2.imdecode(np.frombuffer(image.encoded(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(image.bgr(), sent)
    return np.asarray(sent)


ARRAYS = {
    "tensor": lambda: Tensor(BGR),
    "array interface": lambda: Interface(BGR),
    "DLPack": Capsule,
    "memoryview of an array": lambda: BGR.data,
    "Fortran order": lambda: np.asfortranarray(BGR),
    "upside down": lambda: np.ascontiguousarray(BGR[::-1])[::-1],
    "masked": lambda: np.ma.masked_array(BGR, mask=False),
    "read-only": lambda: np.frombuffer(BGR.tobytes(), np.uint8).reshape(BGR.shape),
    "big-endian bytes": lambda: BGR.astype(">u1"),
}


@pytest.mark.parametrize("source", ARRAYS.values(), ids=ARRAYS)
def test_whatever_is_an_array_is_taken_as_one(source: Any) -> None:
    assert np.array_equal(one(source()), BGR)


def test_a_tensor_of_paddle_is_taken() -> None:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle is an optional dependency")
    assert np.array_equal(one(paddle.to_tensor(BGR, place=paddle.CPUPlace())), BGR)


def test_a_list_of_tensors_is_a_list_of_images() -> None:
    assert [image.bgr().tolist() for image in images([Tensor(BGR), Tensor(BGR[:2])])] == [
        BGR.tolist(),
        BGR[:2].tolist(),
    ]


def test_a_tensor_may_be_filled_again_at_once() -> None:
    buffer = BGR.copy()
    (image,) = images(Tensor(buffer))
    buffer[:] = 0
    assert np.array_equal(image.bgr(), BGR)


@pytest.mark.parametrize("kind", [str, object])
def test_an_array_of_paths_is_a_list_of_paths(tmp_path: Path, kind: type) -> None:
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        Path(path).write_bytes(PNG)
    sources: list[Any] = [np.array(paths, kind), Tensor(np.array(paths, kind))]
    for source in sources:
        assert [image.input_path for image in images(source)] == paths


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


def written() -> io.BytesIO:
    """A file that stands at its end."""
    file = io.BytesIO()
    Image.fromarray(BGR[:, :, ::-1]).save(file, "PNG")
    return file


def temporary() -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(PNG)
    return file


def archived() -> Any:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("image.png", PNG)
    return zipfile.ZipFile(archive).open("image.png")


def mapped(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


FILES = {
    "open": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", buffering=0),
    "BytesIO": lambda _: io.BytesIO(PNG),
    "BytesIO that was written": lambda _: written(),
    "temporary": lambda _: temporary(),
    "in an archive": lambda _: archived(),
    "mmap": mapped,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "image.png").write_bytes(PNG)
    return tmp_path / "image.png"


@pytest.mark.parametrize("opened", FILES.values(), ids=FILES)
def test_an_open_file_is_one_image_and_may_be_given_again(path: Path, opened: Any) -> None:
    with opened(path) as file:
        assert np.array_equal(one(file), BGR)
        assert np.array_equal(one([file][0]), BGR)


def test_bytes_in_an_array_are_one_image() -> None:
    assert np.array_equal(one(array.array("B", PNG)), BGR)


def test_an_open_file_is_read_when_it_is_taken(path: Path) -> None:
    with open(path, "rb") as file:
        (image,) = images(file)
    assert np.array_equal(image.bgr(), BGR)


class Upload:
    """As web frameworks hand them to handlers."""

    async def read(self) -> bytes:
        return PNG


class Empty:
    def read(self) -> None:
        """Nothing is there yet, as non-blocking files say."""


def closed() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


BAD_FILES = {
    "text": (lambda: io.StringIO("text"), "text mode: open it with mode 'rb'"),
    "closed": (closed, "cannot be read: I/O operation on closed file"),
    "asynchronous": (Upload, r"the bytes, as await file\.read\(\) has them"),
    "nothing": (Empty, "gives NoneType instead of bytes"),
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


def test_numbers_in_an_array_of_objects_are_one_error() -> None:
    (image,) = images(BGR.astype(object))
    with pytest.raises(InputError, match="a list of numbers is not an image"):
        image.encoded()


def test_one_path_as_an_array(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    for kind in (str, object):
        (image,) = images(np.array(str(tmp_path / "a.png"), kind))
        assert image.encoded() == PNG


class Dataset:
    """A sequence by its methods alone, as PyTorch has them."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> np.ndarray:
        if index >= len(self):
            raise IndexError(index)
        return np.full((4, 4, 3), index, np.uint8)


def test_a_sequence_that_has_no_iterator() -> None:
    assert [int(image.bgr()[0, 0, 0]) for image in images(Dataset())] == [0, 1, 2]


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
