"""Decoding untrusted bytes."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.examples import examples

from maskserve.decoding.decode import decode
from maskserve.decoding.limits import Limits
from maskserve.errors import ImageTooLarge, InputError, InvalidImage, UnsupportedFormat

LIMITS = Limits(max_bytes=1 << 20, max_pixels=10_000)


def _image(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def _encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, _image())[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_formats_give_their_pixels_back(suffix: str) -> None:
    np.testing.assert_array_equal(decode(_encoded(suffix), LIMITS), _image())


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_formats_decode_as_cv2_does(suffix: str) -> None:
    data = _encoded(suffix)
    np.testing.assert_array_equal(decode(data, LIMITS), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int) -> None:
    image = Image.fromarray(_image()[:, :, ::-1])
    exif = image.getexif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    turned = decode(buffer.getvalue(), LIMITS)
    assert turned.shape[:2] == ((60, 40) if orientation >= 5 else (40, 60))


def test_a_file_over_the_limit_of_bytes_is_refused_unread() -> None:
    with pytest.raises(ImageTooLarge, match="1048577 bytes"):
        decode(b"x" * ((1 << 20) + 1), LIMITS)


def test_a_picture_over_the_limit_of_pixels_is_refused_by_its_header() -> None:
    data = cv2.imencode(".png", _image(101, 100))[1].tobytes()
    with pytest.raises(ImageTooLarge, match="100x101"):
        decode(data, LIMITS)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tiff"])
def test_bytes_that_the_pixels_need_are_never_too_many(suffix: str) -> None:
    limits = Limits(max_bytes=1000, max_pixels=10_000)
    deep = _image(90, 100) if suffix == ".bmp" else _image(90, 100).astype(np.uint16) * 257
    data = cv2.imencode(suffix, deep)[1].tobytes()
    assert len(data) > 10 * limits.max_bytes
    assert np.array_equal(decode(data, limits), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


def test_a_small_picture_in_a_large_file_is_refused() -> None:
    data = _encoded(".png") + bytes(50_000)
    with pytest.raises(ImageTooLarge, match="the limit is 19200"):
        decode(data, Limits(max_bytes=1000, max_pixels=10_000))


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_not_an_image_is_said_so(data: bytes) -> None:
    with pytest.raises(InvalidImage):
        decode(data, LIMITS)


def test_a_format_that_is_not_accepted_is_named() -> None:
    buffer = io.BytesIO()
    Image.fromarray(_image()).save(buffer, "GIF")
    with pytest.raises(UnsupportedFormat, match="GIF"):
        decode(buffer.getvalue(), LIMITS)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_a_truncated_picture_is_refused(suffix: str) -> None:
    data = _encoded(suffix)
    with pytest.raises(InvalidImage):
        decode(data[: len(data) * 2 // 3], LIMITS)


@settings(deadline=None, max_examples=examples(150))
@given(
    suffix=st.sampled_from([".jpg", ".png", ".webp", ".bmp", ".tiff"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_never_gives_anything_but_a_picture_or_a_typed_error(
    suffix: str, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(_encoded(suffix))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        image = decode(bytes(data), LIMITS)
    except InputError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert image.shape[0] * image.shape[1] <= LIMITS.max_pixels
