"""Arrays, files, folders, Pillow's images and pages: each kind of input is the same images with the same pixels."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskserve.errors import InputError, InvalidImage, UnsupportedFormat
from maskserve.inputs.image import as_bgr, encode_bmp, smaller
from maskserve.inputs.sources import images
from maskserve.inputs.tiff import count_pages

RNG = np.random.default_rng(5)
BGR = RNG.integers(0, 256, (7, 5, 3), np.uint8)


def png(pixels=BGR):
    return cv2.imencode(".png", pixels)[1].tobytes()


def pixels_sent(input_image):
    return cv2.imdecode(np.frombuffer(input_image.encoded(), np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def folder(tmp_path):
    for name in ("b/x.PNG", "a.jpg", "D.PNG", "notes.txt", "b/c/deep.webp", "._a.jpg", "z.gif", "y.TIFF"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png() + name.encode())
    return tmp_path / "photos"


ARRAYS = {
    "colour": (BGR, BGR),
    "grey": (BGR[:, :, 0], np.repeat(BGR[:, :, :1], 3, axis=2)),
    "grey, one channel": (BGR[:, :, :1], np.repeat(BGR[:, :, :1], 3, axis=2)),
    "alpha": (np.dstack([BGR, BGR[:, :, 0]]), BGR),
    "mirrored": (BGR[:, ::-1], BGR[:, ::-1]),
    "every other column": (BGR[:, ::2], BGR[:, ::2]),
    "one pixel": (BGR[:1, :1], BGR[:1, :1]),
}


@pytest.mark.parametrize(("array", "expected"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_travel_without_loss(array, expected):
    (input_image,) = images(array)
    assert input_image.input_path is None
    assert np.array_equal(pixels_sent(input_image), expected)
    assert np.array_equal(input_image.bgr(), expected)


BAD_ARRAYS = {
    "float": (np.zeros((4, 4, 3), np.float32), "float32 is not an image"),
    "16 bit": (np.zeros((4, 4, 3), np.uint16), "uint16 is not an image"),
    "five channels": (np.zeros((4, 4, 5), np.uint8), r"shape \[4, 4, 5\]"),
    "a batch": (np.zeros((2, 4, 4, 3), np.uint8), r"shape \[2, 4, 4, 3\]"),
    "no pixels": (np.zeros((0, 0, 3), np.uint8), "no pixels"),
    "flat": (np.zeros(12, np.uint8), r"shape \[12\]"),
    "scalar": (np.array(3, np.uint8), r"shape \[\]"),
}


@pytest.mark.parametrize(("array", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_are_no_pictures(array, message):
    (input_image,) = images(array)
    with pytest.raises(InvalidImage, match=message):
        input_image.encoded()


def test_an_array_may_be_filled_again_at_once():
    buffer = BGR.copy()
    (input_image,) = images(buffer)
    buffer[:] = 0
    assert np.array_equal(pixels_sent(input_image), BGR)


@pytest.mark.parametrize("kind", [str, Path])
def test_files_are_sent_as_they_are(folder, kind):
    (input_image,) = images(kind(folder / "a.jpg"))
    assert input_image.input_path == str(folder / "a.jpg")
    assert input_image.encoded() == (folder / "a.jpg").read_bytes()


def test_a_file_of_any_name_is_tried(folder):
    (input_image,) = images(folder / "notes.txt")
    assert input_image.encoded() == (folder / "notes.txt").read_bytes()


def test_a_directory_is_searched_recursively_in_byte_order(folder):
    paths = [Path(str(input_image.input_path)).relative_to(folder).as_posix() for input_image in images(str(folder))]
    assert paths == ["D.PNG", "a.jpg", "b/c/deep.webp", "b/x.PNG", "y.TIFF"]


def test_dicts_lists_and_whatever_else_holds_pictures(folder):
    path = str(folder / "a.jpg")
    mixed = [path, (BGR, [{"img": path}]), {"input": [folder / "D.PNG"]}, iter([path]), [], png()]
    found = [input_image.input_path for input_image in images(mixed)]
    assert found == [path, None, path, str(folder / "D.PNG"), path, None]


def test_bytes_are_an_image_file():
    for content in (png(), bytearray(png()), memoryview(png())):
        (input_image,) = images(content)
        assert input_image.encoded() == png()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_pil_images(mode):
    image = Image.fromarray(np.ascontiguousarray(BGR[:, :, ::-1])).convert(mode)
    (input_image,) = images(image)
    assert np.array_equal(pixels_sent(input_image), np.asarray(image.convert("RGB"))[:, :, ::-1])


def test_a_pil_image_of_16_bits_looks_as_its_file_does():
    deep = RNG.integers(0, 2**16, (7, 5), np.uint16)
    file = png(deep)
    (of_file,), (of_image,) = images(file), images(Image.open(io.BytesIO(file)))
    assert np.array_equal(of_image.bgr(), of_file.bgr())


def test_a_pil_image_is_turned_upright():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(BGR).save(file, "PNG", exif=exif)
    (input_image,) = images(Image.open(file))
    assert input_image.bgr().shape == (5, 7, 3)


FAILURES = {
    "missing": ("nowhere.jpg", "no such file or directory: 'nowhere.jpg'"),
    "a pattern": ("photos/*.jpg", "patterns are not expanded"),
    "empty path": ("", "path of the image is empty"),
    "nul in the path": ("a\0b", "cannot be read"),
    "None": (None, "NoneType is not an image"),
    "number": (7, "int is not an image"),
    "other dict": ({"image": "a.jpg"}, r"under \"img\" or \"input\"; this one has \['image'\]"),
    "twofold dict": ({"img": "a.jpg", "input": "b.jpg"}, "under"),
    "other address": ("ftp://example.org/a.jpg", "only http and https"),
    "file address": ("file:///etc/hostname", "only http and https"),
}


@pytest.mark.parametrize(("source", "message"), FAILURES.values(), ids=FAILURES)
def test_what_cannot_be_had_fails_in_its_turn(source, message):
    good, bad, last = images([BGR, source, BGR])
    with pytest.raises(InputError, match=message):
        bad.encoded()
    assert good.encoded() == last.encoded()


def test_an_empty_directory(tmp_path):
    (input_image,) = images(tmp_path)
    with pytest.raises(InputError, match="no images in the directory"):
        input_image.encoded()


def test_a_file_that_is_no_image_cannot_be_drawn_upon():
    for content in (b"", b"text", png()[:40]):
        (input_image,) = images(content)
        with pytest.raises(InvalidImage, match="cannot be decoded"):
            input_image.bgr()


def test_bmp_of_a_grey_array_is_small():
    assert len(encode_bmp(as_bgr(np.zeros((100, 100), np.uint8)))) < 12_000


@pytest.mark.parametrize("pixels", [np.zeros((60, 50, 3), np.uint8), np.zeros((60, 50), np.uint8)], ids=["BGR", "grey"])
def test_a_bmp_that_is_too_large_to_be_sent_becomes_a_png(pixels):
    raw = encode_bmp(pixels)
    sent = smaller(raw)
    assert sent.startswith(b"\x89PNG")
    assert len(sent) < len(raw) / 10
    assert np.array_equal(cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_UNCHANGED), pixels)


def test_what_does_not_become_smaller_is_sent_as_it_is():
    noise = RNG.integers(0, 256, (50, 60, 3), np.uint8)
    for content in (encode_bmp(noise), png(), b"BM nonsense", b""):
        assert smaller(content) == content


def test_tiff_pages(tmp_path):
    path = tmp_path / "two.TIFF"
    assert cv2.imwritemulti(str(tmp_path / "two.tiff"), [BGR, BGR[:3, :, ::-1].copy()])
    (tmp_path / "two.tiff").rename(path)
    for source in (path, path.read_bytes(), tmp_path):
        first, second = images(source)
        assert [first.page_index, second.page_index] == [0, 1]
        assert np.array_equal(pixels_sent(first), BGR)
        assert np.array_equal(pixels_sent(second), BGR[:3, :, ::-1])


def test_a_tiff_of_one_page_is_sent_as_it_is(tmp_path):
    assert cv2.imwrite(str(tmp_path / "one.tif"), BGR)
    content = (tmp_path / "one.tif").read_bytes()
    for source in (tmp_path / "one.tif", content):
        (input_image,) = images(source)
        assert (input_image.encoded(), input_image.page_index) == (content, None)


@pytest.mark.parametrize("content", [b"II*\0", b"MM\0*nonsense", b"text"])
def test_a_damaged_tiff_is_left_to_the_server(tmp_path, content):
    (tmp_path / "bad.tif").write_bytes(content)
    (input_image,) = images(tmp_path / "bad.tif")
    assert input_image.encoded() == content
    (missing,) = images("nowhere.tif")
    with pytest.raises(InputError, match="no such file"):
        missing.encoded()


def test_a_tiff_page_that_cannot_be_read(tmp_path):
    path = tmp_path / "two.tif"
    assert cv2.imwritemulti(str(path), [BGR, BGR])
    first, second = images(path)
    path.write_bytes(b"text")
    with pytest.raises(InvalidImage, match="page 1 of the TIFF file cannot be read"):
        second.encoded()
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        first.encoded()


@given(st.binary(max_size=64))
def test_arbitrary_bytes_have_a_number_of_pages(rest):
    assert 1 <= count_pages(b"II*\0" + rest) <= 64


def test_pdf_pages(tmp_path):
    pytest.importorskip("pypdfium2", reason="pypdfium2 is an optional dependency")
    path = tmp_path / "two.pdf"
    first, second = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (10, 40), "blue")
    first.save(path, save_all=True, append_images=[second], resolution=72)
    for source in (path, path.read_bytes()):
        one, two = images(source)
        assert [one.page_index, two.page_index] == [0, 1]
        assert one.bgr().shape == (40, 60, 3)
        assert two.bgr()[40, 10].tolist() == pytest.approx([255, 0, 0], abs=3)
    path.write_bytes(b"%PDF-1.4 nonsense")
    (bad,) = images(path)
    with pytest.raises(InvalidImage, match="PDF file cannot be read"):
        bad.encoded()


def test_a_pdf_without_pypdfium2(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 nonsense")
    (input_image,) = images(tmp_path / "a.pdf")
    with pytest.raises(UnsupportedFormat, match=r"pip install 'maskserve\[pdf\]'"):
        input_image.encoded()
