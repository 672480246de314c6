"""One image, one answer: by path, as bytes, as an open file and as PIL image, the pixels are the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from maskserve.decoding.decode import decode
from maskserve.errors import InvalidImage
from maskserve.inputs.sources import images
from maskserve_server.spec import Limits

HEIGHT, WIDTH = 37, 53
RNG = np.random.default_rng(3)
SMOOTH = cv2.resize(RNG.integers(0, 256, (6, 7, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
RGB = Image.fromarray(SMOOTH)
GREY = np.asarray(RGB.convert("L"))
ALPHA = Image.fromarray(RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8))
RGBA = Image.merge("RGBA", (*RGB.split(), ALPHA))


def deep(array: Any) -> Image.Image:
    return Image.fromarray(array)


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(RGB, *profiles, outputMode="LAB")
    assert made is not None
    return made


IMAGES: dict[str, Image.Image] = {
    "1": RGB.convert("1"),
    "L": RGB.convert("L"),
    "LA": Image.merge("LA", (RGB.convert("L"), ALPHA)),
    "P": RGB.convert("P"),
    "PA": RGB.convert("PA"),
    "RGB": RGB,
    "RGBA": RGBA,
    "RGBX": RGB.convert("RGBX"),
    "RGBa": RGBA.convert("RGBa"),
    "CMYK": RGB.convert("CMYK"),
    "YCbCr": RGB.convert("YCbCr"),
    "HSV": RGB.convert("HSV"),
    "I;16": deep(GREY.astype(np.uint16) * 257),
    "I": deep(GREY.astype(np.int32)),
    "F": deep(GREY.astype(np.float32)),
}
FORMATS = {
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr", "RGBX"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("L", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
}
CASES = [(kind, mode) for kind, modes in FORMATS.items() for mode in modes]


def saved(kind: str, mode: str, **options: Any) -> bytes:
    file = io.BytesIO()
    IMAGES[mode].save(file, kind, **options)
    return file.getvalue()


def pixels(source: Any) -> np.ndarray:
    """What the server makes of what is sent; what is drawn upon must be the same."""
    (input_image,) = images(source)
    seen = decode(input_image.encoded(), Limits())
    assert np.array_equal(input_image.bgr(), seen)
    return seen


def forms(content: bytes, folder: Path) -> dict[str, np.ndarray]:
    path = folder / "image"
    path.write_bytes(content)
    with open(path, "rb") as opened, Image.open(path) as lazy:
        return {
            "path": pixels(str(path)),
            "bytes": pixels(content),
            "BytesIO": pixels(io.BytesIO(content)),
            "open file": pixels(opened),
            "PIL": pixels(lazy),
        }


@pytest.mark.parametrize(("kind", "mode"), CASES, ids=[f"{kind} {mode}" for kind, mode in CASES])
def test_all_forms_of_a_file_have_the_same_pixels(tmp_path: Path, kind: str, mode: str) -> None:
    found = forms(saved(kind, mode), tmp_path)
    for name, seen in found.items():
        assert np.array_equal(seen, found["path"]), name


@pytest.mark.parametrize(
    ("kind", "mode"), [case for case in CASES if case[1] not in "IF"], ids=lambda value: value.replace(";", "")
)
def test_files_have_the_pixels_of_opencv(tmp_path: Path, kind: str, mode: str) -> None:
    (tmp_path / "image").write_bytes(saved(kind, mode))
    assert np.array_equal(pixels(tmp_path / "image"), cv2.imread(str(tmp_path / "image")))


@pytest.mark.parametrize("mode", IMAGES)
def test_a_pil_image_of_any_mode_looks_as_it_does(mode: str) -> None:
    image = IMAGES[mode]
    expected = GREY if mode in ("I", "F", "I;16") else np.asarray(RGB.convert(mode).convert("RGB"))[:, :, ::-1]
    seen = pixels(image).astype(int)
    expected = np.repeat(GREY[:, :, None], 3, axis=2) if expected.ndim == 2 else expected
    if mode in ("RGBa", "LA"):  # what was multiplied by a small alpha cannot be had back
        opaque = np.asarray(ALPHA) > 200
        assert np.abs(seen - expected)[opaque].max() <= 2
    else:
        assert np.abs(seen - expected).max() <= 1


def test_lab_has_its_colours() -> None:
    assert np.abs(pixels(lab()).astype(int) - SMOOTH[:, :, ::-1]).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_orientation_counts_in_all_forms(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    found = forms(saved(kind, "RGB", exif=exif, **lossless), tmp_path)
    turned = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    upright = np.rot90(SMOOTH[:, :, ::-1], turned)
    if orientation in (2, 4, 5, 7):
        upright = upright[:, ::-1] if orientation in (2, 4) else upright[::-1]
    for name, seen in found.items():
        assert np.array_equal(seen, found["path"]), name
        assert np.abs(seen.astype(int) - upright).mean() < 8, name


def test_the_orientation_counts_wherever_its_segment_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for where in ({"xmp": b"<x:xmpmeta/>"}, {"comment": b"x" * 99}):
        found = forms(saved("JPEG", "RGB", exif=exif, **where), tmp_path)
        assert {seen.shape for seen in found.values()} == {(WIDTH, HEIGHT, 3)}


def test_an_orientation_in_xmp_counts_in_no_form(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    found = forms(saved("JPEG", "RGB", xmp=xmp), tmp_path)
    assert {seen.shape for seen in found.values()} == {(HEIGHT, WIDTH, 3)}


RANGES = {
    "float from 0 to 1": (GREY.astype(np.float32) / 255, "multiply it by 255"),
    "float over 255": (GREY.astype(np.float32) * 257, "from .* to 6.*scale it"),
    "negative float": (GREY.astype(np.float32) - 9, "scale it"),
    "not a number": (np.full((4, 4), np.nan, np.float32), "not finite"),
    "int over 255": (GREY.astype(np.int32) * 257, "scale it"),
    "negative int": (GREY.astype(np.int32) - 300, "scale it"),
}


@pytest.mark.parametrize(("values", "message"), RANGES.values(), ids=RANGES)
def test_values_whose_range_nobody_knows_are_refused_in_all_forms(tmp_path: Path, values: Any, message: str) -> None:
    image = Image.fromarray(values)
    image.save(tmp_path / "deep.tif")
    content = (tmp_path / "deep.tif").read_bytes()
    for source in (image, tmp_path / "deep.tif", content, io.BytesIO(content), Image.open(tmp_path / "deep.tif")):
        with pytest.raises(InvalidImage, match=message):
            pixels(source)


def test_floats_of_three_channels_are_refused() -> None:
    with pytest.raises(InvalidImage, match="32 bits or floats is not supported; scale it"):
        pixels(cv2.imencode(".tiff", SMOOTH.astype(np.float32), [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())


def test_a_pil_image_that_is_cut_is_refused(tmp_path: Path) -> None:
    content = saved("PNG", "RGB")
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(InvalidImage, match="PNG is truncated"):
        pixels(image)


def test_a_pil_image_of_half_a_jpeg_is_refused_as_its_file_is(tmp_path: Path) -> None:
    content = saved("JPEG", "RGB", quality=95)
    half = content[: len(content) - 800] + b"\xff\xd9"
    (tmp_path / "half.jpg").write_bytes(half)
    with Image.open(tmp_path / "half.jpg") as opened:
        for source in (half, tmp_path / "half.jpg", opened, Image.open(io.BytesIO(half))):
            with pytest.raises(InvalidImage, match="truncated"):
                pixels(source)


def test_what_was_done_to_a_pil_image_counts() -> None:
    content = saved("JPEG", "RGB")
    smaller = Image.open(io.BytesIO(content))
    smaller.draft("RGB", (WIDTH // 2, HEIGHT // 2))
    drawn = Image.open(io.BytesIO(content))
    drawn.paste((1, 2, 3), (0, 0, *drawn.size))
    later = Image.open(io.BytesIO(saved("TIFF", "RGB", save_all=True, append_images=[IMAGES["RGB"].rotate(180)])))
    later.seek(1)
    assert pixels(smaller).shape == (*smaller.size[::-1], 3)
    assert smaller.size < (WIDTH, HEIGHT)
    assert pixels(drawn).reshape(-1, 3).max(axis=0).tolist() == [3, 2, 1]
    assert np.array_equal(pixels(later), SMOOTH[::-1, ::-1, ::-1])


def test_an_opened_pil_image_travels_as_its_file_and_stays_open() -> None:
    content = saved("JPEG", "RGB")
    image = Image.open(io.BytesIO(content))
    (input_image,) = images(image)
    assert input_image.encoded() == content
    assert np.abs(np.asarray(image)[:, :, ::-1].astype(int) - input_image.bgr()).max() <= 1
