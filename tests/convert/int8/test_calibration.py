"""The images of a calibration: chosen alike each time, and refused in words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve.errors import ToolError
from maskserve_convert.int8.calibration import choose_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(9):
        path = tmp_path / "calibration" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((4, 5, 3), number, np.uint8))
    return path.parent


def test_the_seed_chooses(folder: Path) -> None:
    first, again, other = (choose_images([folder], seed=seed, most=4) for seed in (1, 1, 3))
    assert first == again and set(first.images) != set(other.images)
    assert (len(first.images), first.found) == (4, 9)
    assert choose_images([folder], seed=1).images == tuple(sorted(folder.iterdir()))


def test_files_and_folders_once_each(folder: Path) -> None:
    assert len(choose_images([folder / "3.png", folder, folder / "3.png"]).images) == 9


def test_the_digests_say_nothing_of_names(folder: Path) -> None:
    digests = choose_images([folder / "3.png"]).digests()
    (folder / "3.png").rename(folder / "x.png")
    assert choose_images([folder / "x.png"]).digests() == digests
    assert len(digests[0]) == 64


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, r"there are no images in .*--calibration"),
        ({"notes.txt": b"x"}, "there are no images"),
        ({"a.png": b"no image"}, r"1 of 1 images for the calibration cannot be decoded: .*a.png .*remove them"),
        ({"a.jpg": b""}, "a.jpg .*the image is empty"),
    ],
)
def test_what_is_not_there_or_no_image(tmp_path: Path, content: dict[str, bytes], said: str) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ToolError, match=said):
        choose_images([tmp_path])


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"there is no .*nowhere"):
        choose_images([tmp_path / "nowhere"])


def test_a_truncated_image_among_good_ones(folder: Path) -> None:
    good = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(good[:-20])
    with pytest.raises(ToolError, match=r"1 of 9 images .*3.png"):
        choose_images([folder])
