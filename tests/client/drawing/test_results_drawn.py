"""Drawing and cutting out by the methods of a result."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskserve import InputError, InvalidParameter
from maskserve.saving.drawn import is_drawn

SIZE = (120, 200)
# The masks are the left halves of the boxes.
FOUND = [(0, 0.9, (10, 20, 50, 100)), (0, 0.8, (60, 20, 100, 100)), (2, 0.7, (120, 20, 160, 100))]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_two_of_a_class_have_two_colours(result_of: Any) -> None:
    image = result_of(np.zeros((*SIZE, 3), np.uint8), FOUND, SIZE).img
    assert image.getpixel((15, 30)) == (97, 41, 41)
    assert image.getpixel((65, 30)) == (29, 76, 91)
    assert image.getpixel((45, 60)) == (0, 0, 0)


def test_saved_images_take_the_options(result_of: Any, photo: Path, tmp_path: Path) -> None:
    result = result_of(photo, FOUND, SIZE)
    options: dict[str, Any] = {"show": ["masks"], "by": "class", "colors": {"car": "red"}, "opacity": 1}
    path = result.save_to_img(tmp_path / "out.png", **options)
    result.save_all(tmp_path / "all.png", **options)
    wanted = np.asarray(result.draw(**options))
    assert np.array_equal(np.asarray(Image.open(path)), wanted)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "all.png")), wanted)
    assert (tmp_path / "all.json").is_file()
    assert tuple(wanted[30, 125]) == (255, 0, 0)
    result.save_all(tmp_path / "paddlex.png", style="paddlex")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "paddlex.png")), np.asarray(result.draw("paddlex")))


def test_a_wrong_option_is_refused_before_anything_is_read_or_written(result_of: Any, photo: Path) -> None:
    result = result_of(photo, FOUND, SIZE)
    photo.unlink()
    with pytest.raises(InvalidParameter, match="from 0 to 1"):
        result.save_to_img(photo.parent / "out.png", opacity=2)
    assert not (photo.parent / "out.png").exists()


def test_a_smaller_drawing_takes_the_options_too(result_of: Any) -> None:
    result = result_of(np.zeros((*SIZE, 3), np.uint8), FOUND, SIZE)
    image = result.draw(max_pixels=6000, show="masks", colors="red", opacity=1, ids=[4, 5, 6])
    assert image.size == (100, 60)
    assert image.getpixel((8, 30)) == (255, 0, 0)


def test_cutouts_hold_the_pixels_of_their_object_alone(result_of: Any, photo: Path, tmp_path: Path) -> None:
    result = result_of(photo, FOUND, SIZE)
    for number, mask in enumerate(result["masks"]):
        mask[10 : 20 + number, 3:9] = 0  # a hole, through which the rest of the image must not be seen
    paths = result.save_cutouts(tmp_path / "cut")
    assert [path.name for path in paths] == ["street_0_person.png", "street_1_person.png", "street_2_car.png"]
    original = np.asarray(Image.open(photo))
    for path, instance in zip(paths, result.instances, strict=True):
        with Image.open(path) as image:
            assert image.mode == "RGBA"
            pixels = np.asarray(image)
        x, y, width, height = instance.mask.bbox
        inside = instance.mask.decode()[y : y + height, x : x + width].astype(bool)
        assert np.array_equal(pixels[:, :, 3], inside * 255)
        assert np.array_equal(pixels[inside][:, :3], original[y : y + height, x : x + width][inside])
        assert not inside.all()
        assert not pixels[~inside].any()
        assert is_drawn(path)  # the search for images leaves it out


def test_cutouts_of_nothing_and_of_masks_without_pixels(result_of: Any, photo: Path, tmp_path: Path) -> None:
    assert result_of(photo, [], SIZE).save_cutouts(tmp_path / "cut") == []
    found = [(0, 0.9, (10, 20, 11, 100)), (0, 0.8, (60, 20, 100, 100))]  # half a column is none
    (path,) = result_of(photo, found, SIZE).save_cutouts(tmp_path / "cut")
    assert path.name == "street_1_person.png"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("行人", "street_0_行人.png"),
        ("../a/b:c", "street_0__a_b_c.png"),
        ("", "street_0.png"),
        ("...", "street_0.png"),
        ("x" * 300, f"street_0_{'x' * 40}.png"),
        ("行" * 300, f"street_0_{'行' * 40}.png"),
    ],
)
def test_any_class_name_makes_a_file_name(result_of: Any, photo: Path, tmp_path: Path, label: str, name: str) -> None:
    result = result_of(photo, FOUND[:1], SIZE)
    result["boxes"][0]["label"] = label
    (path,) = result.save_cutouts(tmp_path / "cut")
    assert path == tmp_path / "cut" / name
    assert path.is_file()


def test_cutouts_of_two_images_of_one_name_do_not_share_files(transport: Any, pipeline: Any, tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        Image.new("RGB", (20, 10), "red" if folder == "a" else "blue").save(tmp_path / folder / "x.png")
    paths = [
        result.save_cutouts(tmp_path / "cut")[0]
        for result in pipeline.predict([tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"])
    ]
    assert paths[0].name == "x_0_car.png"
    assert paths[1].name.startswith("x-")
    assert [Image.open(path).convert("RGB").getpixel((3, 3)) for path in paths] == [(255, 0, 0), (0, 0, 255)]


def test_cutouts_never_replace_an_input(result_of: Any, photo: Path) -> None:
    other = photo.with_name("street_0_person.png")
    Image.new("RGB", (5, 5)).save(other)
    before = other.read_bytes()
    paths = result_of(photo, FOUND, SIZE).save_cutouts(photo.parent)
    assert other.read_bytes() == before
    assert paths[0] != other
    assert paths[0].is_file()


def test_cutouts_go_to_a_directory(result_of: Any, photo: Path, tmp_path: Path) -> None:
    result = result_of(photo, FOUND, SIZE)
    with pytest.raises(InvalidParameter, match="name a directory"):
        result.save_cutouts(tmp_path / "one.png")
    with pytest.raises(InvalidParameter, match="no path"):
        result.save_cutouts(3)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        result.save_cutouts(tmp_path / "file")


def test_the_options_are_the_same_everywhere(result_of: Any) -> None:
    from maskserve.drawing.look import DrawOptions, Look

    assert set(inspect.signature(Look.checked).parameters) == set(DrawOptions.__annotations__)
