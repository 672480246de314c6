"""What a decoder's process gives is what this process would have made of the same file."""

from __future__ import annotations

import io
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve.decoding.decode import decode
from maskserve.decoding.limits import Limits
from maskserve.decoding.pool import DecoderPool
from maskserve.errors import InvalidImage, UnsupportedFormat

LIMITS = Limits()
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
PNG = bytes(cv2.imencode(".png", IMAGE)[1])


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    opened = DecoderPool(LIMITS, 2)
    yield opened
    opened.close()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 60, 3), (40, 60, 1), (1500, 2000, 3)], ids=str)
def test_the_pixels_are_those_of_this_process(pool: DecoderPool, suffix: str, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(2).integers(0, 255, shape, np.uint8)
    file = bytes(cv2.imencode(suffix, image)[1])
    pixels = pool.decode(file)
    assert np.array_equal(pixels, decode(file))
    assert pixels.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_are_turned(pool: DecoderPool, kind: str, orientation: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(IMAGE).save(file, kind, exif=exif)
    assert np.array_equal(pool.decode(file.getvalue()), decode(file.getvalue()))


def test_one_image_after_another_has_its_own_pixels(pool: DecoderPool) -> None:
    """The memory is used again, grows, and is not kept where an image is larger than usual."""
    for height, width in [(10, 10), (3000, 9000), (20, 10), (1200, 1600), (9, 9), (3000, 9000), (10, 30)]:
        image = np.full((height, width, 3), height % 251, np.uint8)
        image[-1, -1] = width % 251
        with pool.lend(bytes(cv2.imencode(".png", image)[1])) as pixels:
            assert np.array_equal(pixels, image)
            assert not pixels.flags.writeable


def test_errors_are_those_of_this_process(pool: DecoderPool) -> None:
    for content in (b"", b"nonsense", PNG[:60], b"GIF89a" + bytes(20), b"BM", b"\xff\xd8\xff"):
        with pytest.raises((InvalidImage, UnsupportedFormat)) as here:
            decode(content, LIMITS)
        with pytest.raises(type(here.value)) as there:
            pool.decode(content)
        assert str(there.value) == str(here.value)
    assert pool.deaths == 0
