"""What an image is, its content says, in `maskserve batch` as elsewhere."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve.errors import InputError, UnsupportedFormat
from maskserve_tools.batch.loading import _from_path
from tests.client.tiffs import Page, tiff

PIXELS = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)
SMALL = Page(PIXELS[::2, ::2].copy(), tags={254: 1})


def write(folder: Path, content: bytes, name: str = "photo.tif") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_with_smaller_copies_is_one_photo(tmp_path: Path, big: bool) -> None:
    image = _from_path(write(tmp_path, tiff([Page(PIXELS), SMALL], big=big)))
    assert np.array_equal(image.bgr(), PIXELS[:, :, ::-1])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", ["photo.tif", "photo.jpg", "photo"])
def test_several_pages_are_the_error_of_their_row(tmp_path: Path, name: str, big: bool) -> None:
    image = _from_path(write(tmp_path, tiff([Page(PIXELS), Page(PIXELS)], big=big), name))
    with pytest.raises(InputError, match="has several pages"):
        image.encoded()


def test_a_photo_under_the_name_of_a_document_is_one(tmp_path: Path) -> None:
    image = _from_path(write(tmp_path, cv2.imencode(".png", PIXELS)[1].tobytes(), "photo.pdf"))
    assert np.array_equal(image.bgr(), PIXELS)


def test_heic_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    image = _from_path(write(tmp_path, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "photo.jpg"))
    with pytest.raises(UnsupportedFormat, match="HEIC"):
        image.encoded()
