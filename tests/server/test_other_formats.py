"""PNG, WebP, BMP and TIFF files that are cut, damaged, or go on behind their end."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.client.tiffs import Page
from tests.client.tiffs import tiff as directories
from tests.server.jpegs import scene

from maskserve.decoding.decode import decode
from maskserve.decoding.limits import Limits
from maskserve.errors import InvalidImage, UnsupportedFormat

LIMITS = Limits()
RGB = np.asarray(scene())
BGR = np.ascontiguousarray(RGB[:, :, ::-1])
GREY = np.ascontiguousarray(RGB[:, :, 1])


def pil(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    scene().convert(mode).save(file, kind, **options)
    return file.getvalue()


def by_opencv(file: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)


FILES = {
    "PNG": lambda: pil("PNG"),
    "PNG, palette": lambda: pil("PNG", "P"),
    "PNG, alpha": lambda: pil("PNG", "RGBA"),
    "BMP": lambda: pil("BMP"),
    "BMP, palette": lambda: pil("BMP", "P"),
    "WebP": lambda: pil("WEBP"),
    "WebP, lossless": lambda: pil("WEBP", lossless=True),
    "WebP, alpha": lambda: pil("WEBP", "RGBA"),
    "WebP, animated": lambda: pil("WEBP", save_all=True, append_images=[scene().rotate(180)]),
    "TIFF": lambda: pil("TIFF"),
    "TIFF, LZW": lambda: pil("TIFF", compression="tiff_lzw"),
    "TIFF, deflate": lambda: pil("TIFF", compression="tiff_adobe_deflate"),
    "TIFF, PackBits": lambda: pil("TIFF", compression="packbits"),
    "TIFF, JPEG": lambda: pil("TIFF", compression="jpeg"),
    "TIFF, fax": lambda: pil("TIFF", "1", compression="group4"),
    "TIFF, OpenCV's": cv2.imencode(".tiff", BGR)[1].tobytes,
}


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest) -> bytes:
    return FILES[request.param]()


def test_pixels_are_those_of_opencv(file: bytes) -> None:
    assert np.array_equal(decode(file, LIMITS), by_opencv(file))


@pytest.mark.parametrize("tail", [bytes(3000), b"\xff\xd9", b"junk" * 99], ids=["zeros", "marker", "junk"])
def test_what_follows_the_end_does_not_count(file: bytes, tail: bytes) -> None:
    assert np.array_equal(decode(file + tail, LIMITS), by_opencv(file))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.97])
def test_a_part_of_a_file_is_refused(file: bytes, part: float) -> None:
    with pytest.raises(InvalidImage):
        decode(file[: int(len(file) * part)], LIMITS)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*bodies: bytes, extra: bytes = b"", end: bytes = chunk(b"IEND", b"")) -> bytes:
    header = struct.pack(">IIBBBBB", GREY.shape[1], GREY.shape[0], 8, 0, 0, 0, 0)
    parts = b"".join(chunk(b"IDAT", body) for body in bodies)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + parts + end


ROWS = np.hstack([np.zeros((GREY.shape[0], 1), np.uint8), GREY]).tobytes()
STREAM = zlib.compress(ROWS)


ENDS = {
    "nothing": b"",
    "zeros": bytes(3000),
    "a part of the end": chunk(b"IEND", b"")[:7],
    "a part of a text": chunk(b"tEXt", b"Comment\0" + b"a" * 99)[:50],
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_png_that_is_cut_behind_its_pixels_is_taken(end: bytes) -> None:
    assert np.array_equal(decode(png(STREAM, end=end), LIMITS)[:, :, 0], GREY)
    assert np.array_equal(decode(png(STREAM[:900], STREAM[900:], end=end), LIMITS)[:, :, 0], GREY)


HALVES = {
    "stream cut": png(STREAM[: len(STREAM) // 2]),
    "stream cut, no end": png(STREAM[: len(STREAM) // 2], end=b""),
    "stream of half the rows": png(zlib.compress(ROWS[: len(ROWS) // 2])),
    "check sum missing": png(STREAM[:-4]),
    "check sum wrong": png(STREAM[:-4] + b"wrong"),
    "no pixels": png(),
    "chunk longer than the file": png(STREAM)[:33] + struct.pack(">I", 3_500_000_000) + b"IDAT" + STREAM,
    "no header": b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("file", HALVES.values(), ids=HALVES)
def test_a_png_of_half_an_image_is_refused(file: bytes) -> None:
    with pytest.raises(InvalidImage):
        decode(file, LIMITS)


def test_an_animated_png_gives_its_still_image() -> None:
    for still in (False, True):
        file = pil("PNG", save_all=True, append_images=[scene().rotate(180)], default_image=still)
        assert np.array_equal(decode(file, LIMITS), BGR)


def test_a_damaged_further_image_of_an_animated_png_does_not_reach_the_decoder() -> None:
    file = bytearray(pil("PNG", save_all=True, append_images=[scene().rotate(180)]))
    frame = file.rindex(b"fcTL")
    file[frame + 8 : frame + 16] = b"\x7f" * 8  # its size
    assert np.array_equal(decode(bytes(file), LIMITS), BGR)


def webp(body: bytes, name: bytes) -> bytes:
    inner = b"WEBP" + name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_part_of_a_webp_is_refused_whatever_its_header_says(lossless: bool, part: float) -> None:
    file = pil("WEBP", lossless=lossless)
    with pytest.raises(InvalidImage):
        decode(webp(file[20 : 20 + int((len(file) - 20) * part)], file[12:16]), LIMITS)


def test_a_webp_with_a_hole_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    for quality in (80, 101):  # 101: lossless
        file = cv2.imencode(".webp", noise, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        with pytest.raises(InvalidImage, match="zeros"):
            decode(file[:-1500] + bytes(1500), LIMITS)


def test_a_webp_that_is_cut_in_its_metadata_is_taken() -> None:
    file = pil("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + bytes(400))
    assert np.array_equal(decode(file[:-100], LIMITS), decode(pil("WEBP"), LIMITS))


def tiff(strips: list[bytes], compression: int = 1, rows: int | None = None, **changed: Any) -> bytes:
    """A grey TIFF file whose directory comes first, so that a cut leaves it whole."""
    height, width = GREY.shape
    rows = rows or -(-height // len(strips))
    start = 8 + 2 + 9 * 12 + 4
    places = [start + 8 * len(strips) + sum(map(len, strips[:index])) for index in range(len(strips))]
    places, lengths = changed.get("places", places), changed.get("lengths", list(map(len, strips)))
    count = len(strips)
    lists = (places[0], lengths[0]) if count == 1 else (start, start + 4 * count)
    tags = [(256, 1, width), (257, 1, height), (258, 1, 8), (259, 1, compression), (262, 1, 1)]
    tags += [(273, count, lists[0]), (277, 1, 1), (278, 1, rows), (279, count, lists[1])]
    table = b"".join(struct.pack("<HHII", tag, 4, number, value) for tag, number, value in tags)
    numbers = struct.pack(f"<{2 * count}I", *places, *lengths)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + table + bytes(4) + numbers + b"".join(strips)


def deflated(half: bool = False, strips: int = 4) -> list[bytes]:
    found = [zlib.compress(part.tobytes()) for part in np.array_split(GREY, strips)]
    return [*found[:-1], found[-1][: len(found[-1]) // 2]] if half else found


def test_a_tiff_of_our_own_is_read() -> None:
    for file in (tiff([GREY.tobytes()]), tiff(deflated(), 8), tiff(deflated(strips=1), 8)):
        assert np.array_equal(decode(file, LIMITS)[:, :, 0], GREY)


BAD_TIFFS = {
    "cut, not compressed": tiff([GREY.tobytes()])[:-5000],
    "cut, compressed": tiff(deflated(), 8)[:-500],
    "strip cut": tiff(deflated(half=True), 8),
    "the only strip cut": tiff(deflated(half=True, strips=1), 8),
    "strip of half the rows": tiff([zlib.compress(GREY[:60].tobytes())], 8),
    "strips of nowhere": tiff([GREY.tobytes()], places=[0]),
    "strips behind the end": tiff(deflated(), 8, lengths=[10**6] * 4),
    "cut in its directory": tiff([GREY.tobytes()])[:60],
}


@pytest.mark.parametrize("file", BAD_TIFFS.values(), ids=BAD_TIFFS)
def test_a_tiff_that_lacks_pixels_is_refused(file: bytes) -> None:
    with pytest.raises(InvalidImage, match=r"TIFF|cannot be decoded"):
        decode(file, LIMITS)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg"])
def test_a_tiff_whose_strip_ends_early_is_refused(compression: str) -> None:
    file = bytearray(pil("TIFF", compression=compression))
    with Image.open(io.BytesIO(bytes(file))) as image:
        start, length = image.tag_v2[273][-1], image.tag_v2[279][-1]
    rest = length - length // 2
    ending = {"tiff_lzw": b"\x80\x80", "packbits": b"\x80" * rest, "jpeg": b"\xff\xd9"}[compression]
    file[start + length // 2 : start + length] = ending.ljust(rest, b"\0")
    with pytest.raises(InvalidImage):
        decode(bytes(file), LIMITS)


NAMED = {
    "GIF": pil("GIF"),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "JPEG XL": b"\xff\x0a" + bytes(100),
    "PDF": b"%PDF-1.7\n",
    "ICO": b"\0\0\1\0\1\0" + bytes(100),
    "PPM": b"P6\n1 1\n255\n\0\0\0",
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize(("name", "file"), NAMED.items(), ids=NAMED)
def test_a_format_that_is_not_read_is_named(name: str, file: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match=f"^{name} (images|files) are not supported; save it as JPEG"):
        decode(file, LIMITS)


@pytest.mark.parametrize("tags", [{50706: 0x01040000}, {254: 1, 330: 8}], ids=["DNG", "preview with more elsewhere"])
def test_the_preview_in_a_raw_file_is_not_the_photo(tags: dict[int, int]) -> None:
    file = directories([Page(GREY, tags=tags)])
    with pytest.raises(UnsupportedFormat, match="camera raw images are not supported; save it as JPEG"):
        decode(file, LIMITS)
