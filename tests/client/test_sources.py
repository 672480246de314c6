"""Arrays, tensors, buffers and open files are taken as the image that they hold."""

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
from tests.client.given_arrays import BGR, PNG, Tensor

from maskserve.inputs.sources import images


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
