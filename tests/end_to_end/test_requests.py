"""Good and bad requests against a real server, over both protocols and in both layouts."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve import create_pipeline
from maskserve.errors import (
    ImageTooLarge,
    InputError,
    InvalidImage,
    InvalidParameter,
    ModelNotFound,
    ServerUnavailable,
    UnsupportedFormat,
)
from maskserve.pipeline import Pipeline
from tests.end_to_end.conftest import DEMO, WAYS, Where

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server


@pytest.fixture(scope="module", params=[(p, m) for p in WAYS for m in (DEMO, f"{DEMO}-single")], ids=str)
def pipeline(request: pytest.FixtureRequest, where: Where) -> Iterator[Pipeline]:
    model, url = where(*request.param)
    with create_pipeline(model, url=url) as opened:
        yield opened


def _gradient(height: int, width: int, channels: int = 3) -> np.ndarray:
    values = np.linspace(0, 255, height * width * channels)
    return values.reshape(height, width, channels).astype(np.uint8)


def test_nothing_is_found_in_an_empty_picture(pipeline: Pipeline) -> None:
    (result,) = pipeline.predict(np.zeros((48, 64, 3), np.uint8), threshold=0.9)
    assert len(result.instances) == 0
    assert result["boxes"] == []
    assert len(result["masks"]) == 0
    assert result.instances.image_size == (48, 64)


def test_a_picture_of_one_pixel_is_answered(pipeline: Pipeline) -> None:
    (result,) = pipeline.predict(np.zeros((1, 1, 3), np.uint8))
    assert result.instances.image_size == (1, 1)


def test_everything_is_kept_inside_the_picture_at_a_low_threshold(pipeline: Pipeline) -> None:
    (result,) = pipeline.predict(_gradient(300, 427), threshold=0.0)
    instances = result.instances
    assert len(instances) > 0
    assert (instances.boxes_xyxy >= 0).all()
    assert (instances.boxes_xyxy <= [427, 300, 427, 300]).all()
    assert all(mask.decode().shape == (300, 427) for mask in instances.masks)


@pytest.mark.parametrize("kind", ["grey", "rgba", "16 bit", "palette", "webp", "tiff"])
def test_other_kinds_of_pictures_are_read_as_cv2_reads_them(kind: str, pipeline: Pipeline, tmp_path: Path) -> None:
    colour = _gradient(120, 160)
    match kind:
        case "grey":
            path, written = tmp_path / "a.png", cv2.imwrite(str(tmp_path / "a.png"), colour[:, :, 0])
        case "rgba":
            path, written = tmp_path / "a.png", cv2.imwrite(str(tmp_path / "a.png"), _gradient(120, 160, 4))
        case "16 bit":
            deep = colour.astype(np.uint16) * 257
            path, written = tmp_path / "a.png", cv2.imwrite(str(tmp_path / "a.png"), deep)
        case "palette":
            path, written = tmp_path / "a.png", True
            Image.fromarray(colour).quantize(16).save(path)
        case _:
            path = tmp_path / f"a.{kind}"
            written = cv2.imwrite(str(path), colour)
    assert written
    (from_file,) = pipeline.predict(path, threshold=0.0)
    (from_array,) = pipeline.predict(cv2.imread(str(path)), threshold=0.0)
    assert from_file["boxes"] == from_array["boxes"]
    assert from_file.instances.masks == from_array.instances.masks


def test_the_threshold_and_the_classes_of_a_request_are_kept(pipeline: Pipeline) -> None:
    image = _gradient(300, 427)
    (everything,) = pipeline.predict(image, threshold=0.0)
    middle = float(np.median(everything.scores))
    (half,) = pipeline.predict(image, threshold=middle)
    assert 0 < len(half.instances) < len(everything.instances)
    assert (half.scores > middle).all()
    (none,) = pipeline.predict(image, threshold=0.0, class_ids=[])
    assert len(none.instances) == 0


def _png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and that has next to no pixels: small to send, huge to decode."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _bad(tmp_path: Path) -> dict[str, tuple[bytes, type[InputError], str]]:
    image = cv2.imencode(".jpg", _gradient(120, 160))[1].tobytes()
    gif = tmp_path / "a.gif"
    Image.fromarray(_gradient(8, 8)).save(gif)
    return {
        "truncated": (image[: len(image) // 2], InvalidImage, "truncated"),
        "empty": (b"", InvalidImage, "empty"),
        "text": (b"hello, this is not an image", InvalidImage, "not an image"),
        "gif": (gif.read_bytes(), UnsupportedFormat, "GIF"),
        "bomb": (_png_claiming(20000, 20000), ImageTooLarge, "20000x20000"),
    }


@pytest.mark.parametrize("case", ["truncated", "empty", "text", "gif", "bomb"])
def test_a_bad_picture_is_named_and_its_neighbours_are_answered(case: str, pipeline: Pipeline, tmp_path: Path) -> None:
    data, error, words = _bad(tmp_path)[case]
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    good = _gradient(120, 160)
    outcomes = list(pipeline.predict([good, path, good], on_error="return"))
    assert [type(outcome).__name__ for outcome in outcomes] == ["InstanceSegResult", "Failure", "InstanceSegResult"]
    with pytest.raises(error, match=words) as raised:
        list(pipeline.predict(path))
    assert "bad.jpg" in raised.value.message
    assert "Traceback" not in raised.value.message


def test_a_threshold_that_is_no_number_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(InvalidParameter, match="threshold"):
        list(pipeline.predict(_gradient(8, 8), threshold=float("nan")))


def test_a_class_that_the_model_does_not_have_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(InvalidParameter, match="12345"):
        list(pipeline.predict(_gradient(8, 8), class_ids=[12345]))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_an_unknown_model_is_named_with_those_that_exist(protocol: str, server: Server) -> None:
    url = server.grpc_url if protocol == "grpc" else server.http_url
    with create_pipeline("no-such-model", url=url) as pipeline, pytest.raises(ModelNotFound, match=DEMO):
        list(pipeline.predict(_gradient(8, 8)))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_that_is_not_there_is_said_so(protocol: str) -> None:
    url = f"{protocol}://127.0.0.1:9"
    with create_pipeline(DEMO, url=url) as pipeline, pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:9"):
        list(pipeline.predict(_gradient(8, 8)))


def test_requests_from_many_threads_get_their_own_answers(pipeline: Pipeline) -> None:
    sizes = [(60 + 20 * i, 90 + 10 * i) for i in range(8)]
    alone = {size: next(iter(pipeline.predict(_gradient(*size), threshold=0.0))) for size in sizes}
    wrong: list[tuple[int, int]] = []

    def ask(size: tuple[int, int]) -> None:
        (result,) = pipeline.predict(_gradient(*size), threshold=0.0)
        if result["boxes"] != alone[size]["boxes"] or result.instances.masks != alone[size].instances.masks:
            wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in sizes * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
