"""What becomes of inputs that change, close or disappear after they were given, and whether they are drawn upon."""

import asyncio
import io
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.client.conftest import png, values

from maskserve import AsyncPipeline, Failure
from maskserve.errors import InputError, InvalidImage
from maskserve.pipeline import Pipeline


def test_an_image_that_is_closed_behind_its_back(transport, late, tmp_path):
    for value in range(5):
        (tmp_path / f"{value}.png").write_bytes(png(value))

    def opened():
        for value in range(5):
            with Image.open(tmp_path / f"{value}.png") as image:
                yield image

    assert values(Pipeline("tiny", transport).predict(late(opened()))) == list(range(5))


def half_a_file():
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    return Image.open(io.BytesIO(cv2.imencode(".png", noise)[1].tobytes()[:3000]))


def closed_file():
    image = Image.open(io.BytesIO(png(1)))
    image.close()
    return image


@pytest.mark.parametrize("broken", [half_a_file, closed_file])
def test_a_lazy_image_that_cannot_be_read(pipeline, grey, broken):
    outcomes = list(pipeline.predict([grey(1), broken(), grey(3)], on_error="return"))
    assert isinstance(outcomes[1], Failure)
    assert isinstance(outcomes[1].error, InvalidImage)
    assert values([outcomes[0], outcomes[2]]) == [1, 3]
    assert values(pipeline.predict([grey(1), broken(), grey(3)], on_error="skip")) == [1, 3]
    # half a file is sent, and refused by the server
    with pytest.raises(InvalidImage, match=r"PIL image cannot be read|not an image"):
        list(pipeline.predict(broken()))


def test_a_memoryview_that_was_released(pipeline, grey):
    gone = memoryview(b"x")
    gone.release()
    outcomes = list(pipeline.predict([gone, grey(3)], on_error="return"))
    assert "released" in outcomes[0].error.message
    assert values(outcomes[1:]) == [3]


def test_a_list_that_is_emptied_and_filled_meanwhile(transport, grey):
    frames, seen = [grey(value) for value in range(100)], []
    for result in Pipeline("tiny", transport, concurrency=2).predict(frames):
        seen += values([result])
        frames.clear()
        frames.append(grey(255))
    assert seen == list(range(100))


def test_a_set_that_changes_meanwhile(transport, tmp_path):
    paths = {tmp_path / f"{value}.png" for value in range(50)}
    for path in paths:
        path.write_bytes(png(7))
    for _ in Pipeline("tiny", transport, concurrency=1).predict(paths):
        paths.discard(next(iter(paths), None))
    assert len(transport.requests) == 50


@pytest.mark.parametrize("source", ["a.png", Path("a.png"), "album", "two.tif", "./a.png"])
def test_a_relative_path_is_where_it_was(transport, late, tmp_path, monkeypatch, source):
    for place, value in (("here", 10), ("there", 200)):
        (tmp_path / place / "album").mkdir(parents=True)
        for name in ("a.png", "album/a.png"):
            (tmp_path / place / name).write_bytes(png(value))
        page = np.full((6, 8, 3), value, np.uint8)
        cv2.imwritemulti(str(tmp_path / place / "two.tif"), [page, page])
    monkeypatch.chdir(tmp_path / "here")

    def taken():
        yield source
        os.chdir(tmp_path / "there")

    results = list(Pipeline("tiny", transport).predict(late(taken())))
    assert set(values(results)) == {10}
    assert results[0]["input_path"] == {"album": "album/a.png"}.get(str(source), str(source))
    assert results[0]._image.bgr()[0, 0].tolist() == [10, 10, 10]


@pytest.fixture
def input_image(tmp_path):
    (tmp_path / "photo.png").write_bytes(png(10))
    return tmp_path / "photo.png"


def rewritten(path):
    for value in range(10):
        path.write_bytes(png(value))
        yield {"input": path} if value % 2 else path


def rewritten_tiff(path):
    path = path.with_suffix(".tif")
    for value in range(10):
        cv2.imwrite(str(path), np.full((6, 8, 3), value, np.uint8))
        yield str(path)


@pytest.mark.parametrize("source", [rewritten, rewritten_tiff])
def test_one_file_for_every_frame(transport, late, input_image, source):
    results = list(Pipeline("tiny", transport, concurrency=16).predict(late(source(input_image))))
    assert values(results) == list(range(10))
    with pytest.raises(InputError, match="has changed since it was read first"):
        results[0].draw()
    assert results[-1]._image.bgr()[0, 0].tolist() == [9, 9, 9]


def test_one_file_for_every_frame_of_an_async_source(transport, late, input_image):
    async def frames():
        for element in rewritten(input_image):
            yield element
        late.release()

    async def predicted():
        async with AsyncPipeline(Pipeline("tiny", transport, concurrency=16)) as pipeline:
            return [result async for result in pipeline.predict(frames())]

    assert values(asyncio.run(predicted())) == list(range(10))


def test_a_file_that_an_iterator_names_is_read_once(transport, input_image, monkeypatch):
    reads, read = [], Path.read_bytes

    def noted(path):
        reads.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    (result,) = Pipeline("tiny", transport).predict(iter([input_image]))
    assert reads == [input_image]
    assert result._image.bgr()[0, 0].tolist() == [10, 10, 10]
    assert reads == [input_image] * 2


@pytest.mark.parametrize("generation", ["3.0b2", "3.x"])
def test_a_file_that_was_overwritten_is_not_drawn(transport, input_image, tmp_path, generation):
    (result,) = Pipeline("tiny", transport, generation=generation).predict(input_image)
    result.draw()
    kept = input_image.stat()
    input_image.write_bytes(png(11))
    os.utime(input_image, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # the same size and time
    for later in (result, pickle.loads(pickle.dumps(result))):
        with pytest.raises(InputError, match=r"photo\.png has changed since it was read first"):
            later.draw()
        with pytest.raises(InputError, match="has changed"):
            later.save_to_img(tmp_path / "out")
        if generation == "3.x":
            with pytest.raises(InputError, match="has changed"):
                later["input_img"]
    assert not list(tmp_path.glob("out/*.png"))
    input_image.write_bytes(png(10))
    assert result.draw().size == (8, 6)


def test_a_page_of_a_file_that_was_overwritten_is_not_drawn(pipeline, tmp_path):
    path = tmp_path / "two.tif"
    first, second = (np.full((6, 8, 3), value, np.uint8) for value in (10, 20))
    cv2.imwritemulti(str(path), [first, second])
    one, two = pipeline.predict(path)
    assert values([one, two]) == [10, 20]
    cv2.imwritemulti(str(path), [first, second + 1])
    with pytest.raises(InputError, match=r"two\.tif has changed"):
        two.draw()


def test_a_file_that_is_gone_is_said_to_be(pipeline, input_image):
    (result,) = pipeline.predict(input_image)
    input_image.unlink()
    with pytest.raises(InputError, match="no such file"):
        result.draw()


@pytest.mark.parametrize("make", [lambda array: array, Image.fromarray, lambda array: array[:, :, 0]])
def test_what_is_in_memory_is_drawn_as_it_was(transport, make):
    array = np.full((6, 8, 3), 10, np.uint8)
    image = make(array)
    (result,) = Pipeline("tiny", transport, generation="3.x").predict(image)
    before = result.draw()
    if isinstance(image, Image.Image):
        image.paste((200, 200, 200), (0, 0, 8, 6))
    array[:] = 200
    pixels = result["input_img"]
    assert pixels[0, 0].tolist() == [10, 10, 10]
    pixels[:] = 200  # PaddleX's users draw on it
    assert result["input_img"][0, 0].tolist() == [10, 10, 10]
    assert result.draw().tobytes() == before.tobytes()


def test_a_lazy_image_whose_file_is_closed_says_so(pipeline, tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(InvalidImage, match=r"closed before it was read; call its load\(\) first"):
        list(pipeline.predict(image))
