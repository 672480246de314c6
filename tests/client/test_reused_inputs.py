"""Every frame in one buffer, one Pillow image or one file: each result is of the frame as it was given."""

import asyncio
import io
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageSequence
from tests.client.conftest import png, values

from maskserve import AsyncPipeline
from maskserve.pipeline import Pipeline

COUNT = 24


def array_canvas():
    canvas = np.zeros((6, 8, 3), np.uint8)
    for value in range(10):
        canvas[:] = value
        yield canvas


def view_canvas():
    canvas = np.zeros((12, 8, 3), np.uint8)
    for value in range(10):
        canvas[:] = value
        yield canvas[::2]


def pil_canvas():
    canvas = Image.new("RGB", (8, 6))
    for value in range(10):
        canvas.paste((value, value, value), (0, 0, 8, 6))
        yield canvas


def drawn_canvas():
    canvas = Image.new("L", (8, 6))
    draw = ImageDraw.Draw(canvas)
    for value in range(10):
        draw.rectangle((0, 0, 8, 6), fill=value)
        yield {"img": canvas}


def nested_canvas():
    for canvas in pil_canvas():
        yield [canvas]


def bytes_buffer():
    buffer = bytearray()
    for value in range(10):
        buffer[:] = png(value)
        yield buffer


def memory():
    buffer = bytearray(4096)
    for value in range(10):
        file = png(value)
        buffer[: len(file)] = file
        yield memoryview(buffer)[: len(file)]


def overwritten(wrap, name="frame.png", write=None):
    """A program that writes every frame into the same file, and gives its path in some form."""

    def source(folder):
        path = folder / "frames" / name
        path.parent.mkdir(exist_ok=True)
        for value in range(3):
            if write is None:
                path.write_bytes(png(value))
            else:
                write(path, value)
            yield wrap(str(path))

    return source


def one_page(path, value):
    Image.new("L", (8, 6), value).save(path)


PATHS = {
    "path": overwritten(str),
    "list": overwritten(lambda path: [path]),
    "tuple of Path": overwritten(lambda path: (Path(path),)),
    "array": overwritten(lambda path: np.array([path])),
    "array of no dimension": overwritten(np.array),
    "dict": overwritten(lambda path: {"img": path}),
    "dict in a dict": overwritten(lambda path: {"img": {"img": path}}),
    "list in a dict": overwritten(lambda path: {"input": [path]}),
    "nested lists": overwritten(lambda path: [[(path,)]]),
    "folder": overwritten(lambda path: str(Path(path).parent)),
    "TIFF": overwritten(lambda path: [path], "frame.tif", one_page),
}


# One request at a time: all but the first image would be read after the whole source was taken.
@pytest.mark.parametrize("source", PATHS.values(), ids=PATHS)
def test_one_file_for_all_frames(transport, late, tmp_path, source):
    assert values(Pipeline("tiny", transport, concurrency=1).predict(late(source(tmp_path)))) == [0, 1, 2]


@pytest.mark.parametrize("source", PATHS.values(), ids=PATHS)
def test_one_file_in_an_asynchronous_program(transport, late, tmp_path, source):
    async def frames():
        for frame in late(source(tmp_path)):
            yield frame

    async def run():
        pipeline = AsyncPipeline(Pipeline("tiny", transport, concurrency=1))
        return values([result async for result in pipeline.predict(frames())])

    assert asyncio.run(run()) == [0, 1, 2]


def test_one_document_for_all_pages(transport, late, tmp_path):
    def documents():
        for shades in ([0, 1], [2]):
            first, *others = (Image.new("L", (8, 6), value) for value in shades)
            first.save(tmp_path / "scan.tif", save_all=True, append_images=others)
            yield tmp_path / "scan.tif"

    assert values(Pipeline("tiny", transport, concurrency=1).predict(late(documents()))) == [0, 1, 2]


def test_a_folder_that_is_gone_when_the_source_goes_on(transport, late):
    def folders():
        for value in range(3):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "frame.png").write_bytes(png(value))
                yield folder

    assert values(Pipeline("tiny", transport, concurrency=1).predict(late(folders()))) == [0, 1, 2]


SOURCES = [array_canvas, view_canvas, pil_canvas, drawn_canvas, nested_canvas, bytes_buffer, memory]


@pytest.mark.parametrize("source", SOURCES)
def test_one_buffer_for_all_frames(transport, late, source):
    pipeline = Pipeline("tiny", transport, concurrency=10)
    assert values(pipeline.predict(late(source()))) == list(range(10))


@pytest.mark.parametrize("source", SOURCES)
def test_one_buffer_in_an_asynchronous_program(transport, late, source):
    async def frames():
        for frame in late(source()):
            yield frame

    async def run(given):
        pipeline = AsyncPipeline(Pipeline("tiny", transport, concurrency=10))
        return values([result async for result in pipeline.predict(given)])

    assert asyncio.run(run(frames())) == list(range(10))
    assert asyncio.run(run(late(source()))) == list(range(10))


def movie(kind, **options):
    frames = [Image.new("RGB", (8, 6), (value, value, value)) for value in range(0, 250, 10)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **options)
    file.seek(0)
    return Image.open(file)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})],
    ids=str,
)
def test_frames_of_a_movie(transport, late, kind, options):
    image = movie(kind, **options)
    expected = [frame.convert("RGB").getpixel((0, 0))[2] for frame in ImageSequence.Iterator(image)]
    assert len(set(expected)) == 25
    pipeline = Pipeline("tiny", transport, concurrency=25)
    assert values(pipeline.predict(late(ImageSequence.Iterator(image)))) == expected
    late.release()
    assert values(pipeline.predict(ImageSequence.Iterator(image))) == expected


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_one_lazy_image_many_times(pipeline, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.full((6, 8, 3), 100, np.uint8))
    with Image.open(path) as image:
        assert values(pipeline.predict([image] * COUNT)) == [100] * COUNT
