"""Files of several pages: the content decides that they are, and which directories of a TIFF file are pages."""

from __future__ import annotations

import contextlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.client.tiffs import Page, tiff

from maskserve.decoding.decode import decode
from maskserve.errors import InputError, InvalidImage, UnsupportedFormat
from maskserve.inputs import tiff as _tiff
from maskserve.inputs.sources import images as images_of
from maskserve_server.spec import Limits

RNG = np.random.default_rng(7)
FIRST = RNG.integers(0, 256, (40, 50, 3), np.uint8)
SECOND = RNG.integers(0, 256, (31, 21), np.uint8)
SMALL = FIRST[::2, ::2].copy()
REDUCED, MASK, PAGE = {254: 1}, {254: 4}, {254: 2}


def seen(input_image: Any) -> np.ndarray:
    """The pixels of what is sent."""
    return np.asarray(cv2.imdecode(np.frombuffer(input_image.encoded(), np.uint8), cv2.IMREAD_COLOR))


def bgr(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, :, ::-1] if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def check_pages(source: Any, expected: list[np.ndarray]) -> None:
    found = list(images_of(source))
    assert [input_image.page_index for input_image in found] == (
        list(range(len(expected))) if len(expected) > 1 else [None]
    )
    for input_image, pixels in zip(found, expected, strict=True):
        assert np.array_equal(seen(input_image), bgr(pixels))
        assert np.array_equal(input_image.bgr(), bgr(pixels))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_page_is_one(tmp_path: Path, big: bool, order: str, compressed: bool) -> None:
    content = tiff([Page(FIRST, 3, compressed, PAGE), Page(SECOND, 1, compressed, PAGE)], big=big, order=order)
    for name in ("two.tif", "two", "two.jpg", "two.PDF"):
        (tmp_path / name).write_bytes(content)
        check_pages(tmp_path / name, [FIRST, SECOND])
    check_pages(content, [FIRST, SECOND])
    check_pages(io.BytesIO(content), [FIRST, SECOND])


@pytest.mark.parametrize("tags", [REDUCED, MASK, {254: 5}, {255: 2}], ids=str)
@pytest.mark.parametrize("big", [False, True])
def test_smaller_copies_and_masks_are_no_pages(tags: dict[int, int], big: bool) -> None:
    extra = Page(SMALL, tags=tags)
    check_pages(tiff([Page(FIRST), extra], big=big), [FIRST])
    check_pages(tiff([extra, Page(FIRST)], big=big), [FIRST])
    check_pages(tiff([Page(FIRST), extra, Page(SECOND), extra], big=big), [FIRST, SECOND])


def test_a_file_of_one_page_is_sent_as_it_is() -> None:
    for content in (tiff([Page(FIRST)]), tiff([Page(FIRST), Page(SMALL, tags=REDUCED)])):
        (input_image,) = images_of(content)
        assert input_image.encoded() == content


def test_a_page_is_sent_without_the_others() -> None:
    content = tiff([Page(FIRST), Page(SECOND)])
    assert [len(input_image.encoded()) for input_image in images_of(content)] == pytest.approx([6000, 651], abs=400)


def test_a_file_of_nothing_but_a_smaller_copy_is_an_image() -> None:
    check_pages(tiff([Page(SMALL, tags=REDUCED)]), [SMALL])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_of_pil(compression: str, big: bool) -> None:
    frames = [Image.fromarray(FIRST), Image.fromarray(FIRST[::-1].copy()), Image.fromarray(SMALL)]
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:], compression=compression, big_tiff=big)
    expected = []
    with Image.open(file) as image:
        for index in range(3):
            image.seek(index)
            expected.append(np.asarray(image.convert("RGB")))
    found = list(images_of(file.getvalue()))
    assert len(found) == 3
    for input_image, pixels in zip(found, expected, strict=True):
        assert np.abs(seen(input_image).astype(int) - bgr(pixels)).max() <= (3 if compression == "jpeg" else 0)


def test_a_page_that_is_cut_is_refused_and_the_others_are_not() -> None:
    content = tiff([Page(FIRST), Page(SECOND, strips=1)])
    damaged = bytearray(content)
    second = _tiff.pages(content)[1]
    place = content.index(b"\x11\x01\x04\0\x01\0\0\0", second.position)  # where its strip is
    damaged[place + 8 : place + 12] = (10**6).to_bytes(4, "little")
    good, bad = images_of(bytes(damaged))
    assert np.array_equal(seen(good), bgr(FIRST))
    with pytest.raises(InvalidImage, match="page 1 of the TIFF file is truncated"):
        bad.encoded()


def test_a_chain_of_directories_that_bites_its_tail_ends() -> None:
    content = bytearray(tiff([Page(FIRST), Page(SECOND)]))
    first, second = _tiff.pages(bytes(content))
    link = second.position + 2 + 12 * len(second.entries)
    content[link : link + 4] = first.position.to_bytes(4, "little")
    assert len(list(images_of(bytes(content)))) == 2


@pytest.mark.parametrize("big", [False, True])
def test_damage_never_gives_anything_but_images_or_typed_errors(big: bool) -> None:
    rng = np.random.default_rng(11)
    whole = tiff([Page(SECOND), Page(SECOND[:9], tags=REDUCED), Page(SECOND, compressed=True)], big=big)
    directories = [page.position for page in _tiff.directories(whole)]
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            place = int(rng.choice([0, *directories]) + rng.integers(0, 250))
            content[place : place + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\1", b""]
            )
        for input_image in images_of(bytes(content)):
            for call in (
                input_image.encoded,
                input_image.bgr,
                lambda sent=input_image: decode(sent.encoded(), Limits()),
            ):
                with contextlib.suppress(InputError):
                    call()


def test_a_pdf_of_any_name_has_pages(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2", reason="pypdfium2 is an optional dependency")
    file = io.BytesIO()
    images = [Image.new("RGB", (30, 20), "red"), Image.new("RGB", (10, 40), "blue")]
    images[0].save(file, "PDF", save_all=True, append_images=images[1:], resolution=72)
    for name in ("two", "two.jpg", "two.tif"):
        (tmp_path / name).write_bytes(file.getvalue())
        assert [input_image.page_index for input_image in images_of(tmp_path / name)] == [0, 1]
    (tmp_path / "photo.pdf").write_bytes(cv2.imencode(".png", FIRST)[1].tobytes())
    (input_image,) = images_of(tmp_path / "photo.pdf")
    assert (input_image.page_index, input_image.bgr().shape) == (None, FIRST.shape)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "two.tif").write_bytes(tiff([Page(FIRST), Page(SECOND)]))
    (tmp_path / "two").write_bytes(tiff([Page(FIRST), Page(SECOND)], big=True))
    (tmp_path / "two.jpg").write_bytes(tiff([Page(FIRST), Page(SECOND)]))
    (tmp_path / "one").write_bytes(tiff([Page(FIRST)]))
    Image.fromarray(FIRST).save(tmp_path / "document", "PDF", save_all=True, append_images=[Image.fromarray(SMALL)])

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["two.tif", "two", "two?name=x.jpg"])
def test_pages_of_an_address(site: str, name: str) -> None:
    found = list(images_of(f"{site}/{name}"))
    assert [(input_image.input_path, input_image.page_index) for input_image in found] == [
        (f"{site}/{name}", 0),
        (f"{site}/{name}", 1),
    ]
    assert np.array_equal(seen(found[1]), bgr(SECOND))


def test_other_contents_of_addresses(site: str) -> None:
    pytest.importorskip("pypdfium2", reason="pypdfium2 is an optional dependency")
    assert [input_image.page_index for input_image in images_of(f"{site}/document")] == [0, 1]
    (single,) = images_of(f"{site}/one")
    assert (single.page_index, single.bgr().shape) == (None, FIRST.shape)
    (missing,) = images_of(f"{site}/nothing")
    with pytest.raises(InputError, match="404"):
        missing.encoded()


def test_a_document_under_the_name_of_an_image_is_not_its_first_page(site: str) -> None:
    (input_image,) = images_of(f"{site}/two.jpg")
    with pytest.raises(InvalidImage, match=r"two\.jpg is a TIFF document, whatever its name says"):
        input_image.encoded()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_heic_without_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (tmp_path / "photo.jpg").write_bytes(HEIC)
    for source in (HEIC, tmp_path / "photo.jpg", io.BytesIO(HEIC)):
        (input_image,) = images_of(source)
        for call in (input_image.encoded, input_image.bgr):
            with pytest.raises(UnsupportedFormat, match=r"HEIC.*save it as JPEG.*pip install 'maskserve\[heic\]'"):
                call()


@pytest.mark.filterwarnings("ignore")  # of a library that is not ours
def test_heic_is_read_where_its_reader_is_installed(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is an optional dependency")
    smooth = cv2.resize(FIRST[:5, :7], (96, 64), interpolation=cv2.INTER_CUBIC)
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(smooth)).save(file, quality=95)
    turned = io.BytesIO()
    lying = heif.from_pillow(Image.fromarray(smooth))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.info["exif"] = exif.tobytes()
    lying.save(turned, quality=95)
    (tmp_path / "photo.heic").write_bytes(file.getvalue())
    for source in (file.getvalue(), tmp_path / "photo.heic"):
        (input_image,) = images_of(source)
        assert np.abs(input_image.bgr().astype(int) - smooth[:, :, ::-1]).mean() < 12
        assert np.array_equal(seen(input_image), input_image.bgr())
    (input_image,) = images_of(turned.getvalue())
    assert np.abs(input_image.bgr().astype(int) - np.rot90(smooth, 3)[:, :, ::-1]).mean() < 12
    (input_image,) = images_of(HEIC)
    with pytest.raises(InvalidImage, match="HEIC file is damaged"):
        input_image.encoded()
