"""JPEG files of many scans: each costs a visit to all pixels and a few bytes, so that a small file takes minutes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from maskserve.decoding.decode import decode
from maskserve.decoding.formats import jpeg
from maskserve.decoding.limits import Limits
from maskserve.errors import InvalidImage

SOS = b"\xff\xda"


def with_more_scans(side: int, count: int, *, progressive: bool) -> bytes:
    """Return a JPEG file whose last scan comes `count` times more."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (9, 99, 200)).save(file, "JPEG", progressive=progressive, quality=50)
    content = file.getvalue()
    return content[:-2] + content[content.rfind(SOS) : -2] * count + content[-2:]


def split_into_scans(side: int, count: int) -> bytes:
    """Return a baseline JPEG file with a scan for each component, of which the last comes `count` times."""
    file = io.BytesIO()
    Image.new("L", (side, side), 99).save(file, "JPEG", quality=50)
    grey = file.getvalue()
    frame = grey.find(b"\xff\xc0")
    start = grey.rfind(SOS)
    length = int.from_bytes(grey[frame + 2 : frame + 4], "big")
    body = grey[frame + 4 : frame + 2 + length]
    tripled = body[:5] + b"\x03" + b"".join(bytes([number]) + body[7:9] for number in (1, 2, 3))
    header = b"\xff\xc0" + (len(tripled) + 2).to_bytes(2, "big") + tripled
    scans = [grey[start : start + 5] + bytes([number]) + grey[start + 6 : -2] for number in (1, 2, 3)]
    return grey[:frame] + header + grey[frame + 2 + length : start] + b"".join(scans) + scans[-1] * count + grey[-2:]


@pytest.mark.parametrize(("side", "count"), [(64, 100), (3000, 1000), (6000, 60)])
def test_too_many_scans_are_refused_before_a_pixel_is_decoded(
    side: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskserve.decoding.jpeg_pixels.decode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InvalidImage, match=r"more than \d+ scans"):
        decode(with_more_scans(side, count, progressive=True), Limits())


def test_the_scans_of_a_baseline_file_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode(split_into_scans(32, 0), Limits()).shape == (32, 32, 3)
    monkeypatch.setattr("maskserve.decoding.jpeg_pixels.decode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InvalidImage, match="more than 100 scans"):
        decode(split_into_scans(32, 200), Limits())


@pytest.mark.parametrize("side", [16, 3000])
def test_the_scans_that_encoders_write_are_fine(side: int) -> None:
    assert decode(with_more_scans(side, 5, progressive=True), Limits()).shape == (side, side, 3)
    assert jpeg.walk(with_more_scans(side, 0, progressive=False)).scans == 1
