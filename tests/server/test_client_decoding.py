"""What the server segments, the client can draw: both see the same pixels, also of files with unusual ends."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tests.server.jpegs import KINDS, scene

from maskserve.decoding.decode import decode
from maskserve.decoding.limits import Limits
from maskserve.errors import InvalidImage
from maskserve.inputs.image import InputImage

ENDS = {"as it is": b"", "zeros": bytes(3000), "a video": b"\0\0\0\x18ftypmp42" + bytes(range(255)) * 20}


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    scene().save(file, kind, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a description that is long enough to be cut"


def with_text(png: bytes) -> bytes:
    """A PNG that ends inside a chunk of text behind its pixels."""
    return png[:-12] + (500).to_bytes(4, "big") + b"tEXt" + b"Comment\0text"


OTHERS = {
    "PNG": saved("PNG"),
    "PNG without its last chunk": saved("PNG")[:-12],
    "PNG without its last checksum": saved("PNG")[:-4],
    "PNG cut in its last chunk": with_text(saved("PNG")),
    "WebP": saved("WEBP", lossless=True),
    "WebP cut in its metadata": saved("WEBP", exif=EXIF)[:-10],
    "lossy WebP": saved("WEBP"),
    "BMP": saved("BMP"),
    "TIFF": saved("TIFF"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("cut", [0, 2], ids=["whole", "without its end marker"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "MPO"])
def test_jpeg_files_are_drawn_as_they_were_segmented(kind: str, cut: int, end: str) -> None:
    file = KINDS[kind]()
    file = file[: len(file) - cut] + ENDS[end]
    assert np.array_equal(InputImage(lambda: file).bgr(), decode(file, Limits()))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_drawn_as_they_were_segmented(kind: str, end: str) -> None:
    file = OTHERS[kind] + ENDS[end]
    try:
        expected = decode(file, Limits())
    except InvalidImage:  # a cut file with something behind it
        assert end != "as it is"
        return
    assert np.array_equal(InputImage(lambda: file).bgr(), expected)
