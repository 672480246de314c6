"""Whether a JPEG file is whole: by the structure of its first image, and by libjpeg's word on its data."""

from __future__ import annotations

import io
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.examples import examples
from tests.server.jpegs import ARITHMETIC, KINDS, SIZE, THREE_TO_ONE, encoded, scans, segment, with_segments

from maskserve.decoding.decode import decode
from maskserve.decoding.formats import jpeg
from maskserve.decoding.limits import Limits
from maskserve.errors import InvalidImage

LIMITS = Limits()
END = b"\xff\xd9"


def by_opencv(file: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR))


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest) -> bytes:
    return KINDS[request.param]()


def test_pixels_are_those_of_opencv(file: bytes) -> None:
    assert np.array_equal(decode(file, LIMITS), by_opencv(file))


@settings(deadline=None, max_examples=examples(60))
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    orientation=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_pixels_of_any_image_are_those_of_opencv(
    *,
    width: int,
    height: int,
    quality: int,
    subsampling: int,
    progressive: bool,
    mode: str,
    orientation: int,
    seed: int,
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).convert(mode)
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive, exif=exif)
    assert np.array_equal(decode(buffer.getvalue(), LIMITS), by_opencv(buffer.getvalue()))


TAILS = {
    "zeros": bytes(5000),
    "a video": b"\0\0\0\x18ftypmp42" + np.random.default_rng(1).bytes(20_000),
    "video with markers": b"\xff\xd8\xff\xda\0\x08" * 999 + b"\xff\xc0",
    "another JPEG": encoded()[:3000],
    "line break": b"\r\n",
    "a marker without its segment": b"\xff\xc4",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_what_follows_a_whole_image_does_not_count(file: bytes, tail: bytes) -> None:
    assert np.array_equal(decode(file + tail, LIMITS), by_opencv(file))


VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(255)) * 20


@pytest.mark.parametrize("tail", [b"", bytes(1), bytes(3000), VIDEO], ids=["nothing", "a zero", "zeros", "a video"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "MPO"])
def test_a_whole_image_without_its_end_marker_is_taken(kind: str, tail: bytes) -> None:
    file = KINDS[kind]()
    assert np.array_equal(decode(file[:-2] + tail, LIMITS), by_opencv(file))


def ending(zeros: int) -> bytes:
    """A file whose data end with some bytes that are zero, in front of its end marker."""
    colours = [(128, 128, 128)] if zeros > 1 else [(16 * red, green, 30) for red in range(16) for green in range(64)]
    for colour in colours:
        file = io.BytesIO()
        Image.new("RGB", (160, 96), colour).save(file, "JPEG", optimize=zeros > 1, quality=95 if zeros > 1 else 1)
        data = file.getvalue().removesuffix(END)
        if len(data) - len(data.rstrip(b"\0")) >= zeros:
            return data + END
    raise AssertionError("no colour makes such a file")


@pytest.mark.parametrize("zeros", [1, 20])
def test_zeros_at_the_end_of_the_data_are_no_padding(zeros: int) -> None:
    file = ending(zeros)
    assert np.array_equal(decode(file.removesuffix(END), LIMITS), by_opencv(file))


@pytest.mark.parametrize("padding", [1, 3000])
def test_padding_behind_a_zero_of_the_data(padding: int) -> None:
    file = ending(1)
    assert np.array_equal(decode(file.removesuffix(END) + bytes(padding), LIMITS), by_opencv(file))
    with pytest.raises(InvalidImage):
        decode(file[: -len(file) // 8] + bytes(padding), LIMITS)


def test_a_few_bytes_too_many_in_front_of_the_end_are_no_damage() -> None:
    file = encoded()
    assert np.array_equal(decode(file[:-2] + bytes(50) + END, LIMITS), by_opencv(file))


DISGUISES = {
    "nothing": b"",
    "an end marker": END,
    "zeros": bytes(40_000),
    "an end marker and zeros": END + bytes(2000),
    "the whole image": encoded(),
    "a comment and an end marker": segment(0xFE, b"whole") + END,
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_part_of_an_image_is_refused_whatever_stands_behind_it(file: bytes, part: float, disguise: bytes) -> None:
    first, last = scans(file)[0][1], scans(file)[-1][2]
    with pytest.raises(InvalidImage, match=r"truncated|damaged"):
        decode(file[: first + int((last - first) * part)] + disguise, LIMITS)


@pytest.mark.parametrize("disguise", [b"", END], ids=["nothing", "an end marker"])
@pytest.mark.parametrize("kind", ["progressive", "progressive grey", "progressive CMYK", "progressive restarts"])
def test_every_scan_of_a_progressive_image_must_be_there_and_whole(kind: str, disguise: bytes) -> None:
    file = KINDS[kind]()
    for marker, start, end in scans(file):
        for cut in (marker, start, (start + end) // 2, end - 3):
            with pytest.raises(InvalidImage, match=r"truncated|damaged"):
                decode(file[:cut] + disguise, LIMITS)


@pytest.mark.parametrize("end", [b"", END])
def test_a_component_with_a_scan_of_its_own_must_be_there(end: bytes) -> None:
    file = by_components(encoded(subsampling=0))
    assert np.array_equal(decode(file, LIMITS), by_opencv(file))
    for marker, *_ in scans(file)[1:]:
        with pytest.raises(InvalidImage, match="scans are missing"):
            decode(file[:marker] + end, LIMITS)


def by_components(file: bytes) -> bytes:
    """A file of three grey scans, one for each component: the data are those of three grey files."""
    planes = Image.open(io.BytesIO(file)).split()
    parts = []
    for plane in planes:
        buffer = io.BytesIO()
        plane.save(buffer, "JPEG", quality=80)
        parts.append(buffer.getvalue())
    head = parts[0][: parts[0].index(b"\xff\xc0")]
    width, height = SIZE
    frame = bytes([8, height >> 8, height & 255, width >> 8, width & 255, 3, *(1, 17, 0), *(2, 17, 0), *(3, 17, 0)])
    tables = parts[0][parts[0].index(b"\xff\xc4") : scans(parts[0])[0][0]]
    body = b"".join(
        segment(0xDA, bytes([1, index + 1, 0, 0, 63, 0])) + part[scans(part)[0][1] : scans(part)[0][2]]
        for index, part in enumerate(parts)
    )
    return head + segment(0xC0, frame) + tables + body + END


def test_a_restart_interval_that_is_missing_is_seen() -> None:
    file = encoded(restart_marker_rows=1)
    start, end = file.index(b"\xff\xd1"), file.index(b"\xff\xd3")
    with pytest.raises(InvalidImage, match=r"damaged|truncated"):
        decode(file[:start] + file[end:], LIMITS)


def restart_markers(file: bytes) -> list[int]:
    start, end = scans(file)[0][1:]
    return [at for at in range(start, end - 1) if file[at] == 0xFF and 0xD0 <= file[at + 1] <= 0xD7]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("every", [{"restart_marker_blocks": 3}, {"restart_marker_rows": 1}], ids=["blocks", "rows"])
def test_a_restart_marker_that_is_missing_is_seen(mode: str, every: dict[str, int]) -> None:
    file = encoded(mode, **every)
    markers = restart_markers(file)
    for at in markers:
        with pytest.raises(InvalidImage, match=r"damaged|truncated"):
            decode(file[:at] + file[at + 2 :], LIMITS)
    if len(markers) > 10:  # eight of them: those that are left are in order
        with pytest.raises(InvalidImage, match="damaged"):
            decode(padded(file[: markers[0]] + file[markers[8] :], 0), LIMITS)


def padded(file: bytes, which: int) -> bytes:
    """A byte too many in front of a restart marker, as many cameras write it."""
    at = restart_markers(file)[which]
    return file[:at] + b"\0" + file[at:]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_byte_too_many_in_front_of_a_restart_marker_is_no_damage(mode: str, subsampling: int) -> None:
    file = encoded(mode, restart_marker_blocks=5, **({"subsampling": subsampling} if mode == "RGB" else {}))
    for which in (0, len(restart_markers(file)) - 1):
        assert np.array_equal(decode(padded(file, which), LIMITS), by_opencv(file))
    start, end = scans(file)[0][1:]
    for part in (0.5, 0.9):
        with pytest.raises(InvalidImage, match=r"damaged|truncated"):
            decode(padded(file[: start + int((end - start) * part)] + END, 0), LIMITS)


@pytest.mark.parametrize("file", [THREE_TO_ONE, ARITHMETIC], ids=["3x1", "arithmetic"])
def test_rare_kinds_have_the_pixels_of_opencv(file: bytes) -> None:
    for tail in (b"", bytes(99), b"\xff\xd8\xff\xe0"):
        assert np.array_equal(decode(file + tail, LIMITS), by_opencv(file))


@pytest.mark.parametrize(("file", "disguise"), [(THREE_TO_ONE, END), (THREE_TO_ONE, b""), (ARITHMETIC, b"")])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.7])
def test_a_part_of_a_rare_kind_is_refused(file: bytes, disguise: bytes, part: float) -> None:
    (_, start, end) = scans(file)[0]
    with pytest.raises(InvalidImage, match="truncated"):
        decode(file[: start + int((end - start) * part)] + disguise, LIMITS)


def test_a_height_that_is_written_behind_the_pixels_is_named() -> None:
    file = bytearray(encoded())
    frame = file.index(b"\xff\xc0")
    file[frame + 5 : frame + 7] = b"\0\0"
    late = segment(0xDC, bytes([0, SIZE[1]]))
    with pytest.raises(InvalidImage, match=r"no height.*save it again"):
        decode(bytes(file[:-2]) + late + END, LIMITS)


ODD = {
    "no frame": b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + END,
    "no scan": encoded()[: encoded().index(b"\xff\xda")] + END,
    "only a start": b"\xff\xd8\xff",
    "cut in a segment": encoded()[:30],
    "segment without length": b"\xff\xd8\xff\xe0\0\0" + encoded()[2:],
    "two frames": with_segments(encoded(), encoded()[encoded().index(b"\xff\xc0") :][:19]),
}


@pytest.mark.parametrize("file", ODD.values(), ids=ODD)
def test_files_without_an_image_are_refused(file: bytes) -> None:
    with pytest.raises(InvalidImage, match="JPEG"):
        decode(file, LIMITS)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_image_or_a_typed_error(rest: bytes) -> None:
    with pytest.raises(InvalidImage):
        jpeg.walk(b"\xff\xd8\xff" + rest)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_walk_costs_little_for_twelve_megapixels(progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (3000, 4000), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=80, progressive=progressive)
    file = buffer.getvalue()
    assert len(file) > 3_000_000
    assert fastest(lambda: jpeg.walk(file)) < fastest(lambda: decode(file, LIMITS)) / 20


def fastest(call: object) -> float:
    def once() -> float:
        start = time.process_time()
        call()  # type: ignore[operator]
        return time.process_time() - start

    return min(once() for _ in range(3))
