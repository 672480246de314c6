"""Frames of files, cameras and streams, and the results that they give."""

from __future__ import annotations

import io
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskserve.errors import InputError, InvalidImage
from maskserve.exports import to_pandas
from maskserve.inputs import video
from maskserve.inputs.sources import images
from maskserve.pipeline import Pipeline
from maskserve.results import Failure

VALUES = [40, 90, 140, 190, 240]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.avi", "MJPG", VALUES)


def write_clip(path: Path, codec: str, values: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for value in values:
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    return path


def blues(pipeline: Pipeline, source: Any) -> list[int]:
    return [int(result.pixels()[0, 0, 0]) for result in pipeline.predict(source)]


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v"), ("clip.mkv", "MJPG")])
def test_every_frame_of_a_file_is_segmented(
    name: str, codec: str, tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / name, codec, VALUES).rename(tmp_path / "recording")  # the content decides
    results = list(pipeline.predict(tmp_path / "recording"))
    assert [result["frame_index"] for result in results] == [0, 1, 2, 3, 4]
    assert [result["time"] for result in results] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [result["input_path"] for result in results] == [str(tmp_path / "recording")] * 5
    np.testing.assert_allclose([result.pixels()[0, 0, 0] for result in results], VALUES, atol=6)


def test_frames_are_saved_apart(clip: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    for result in pipeline.predict(clip):
        result.save_to_img(tmp_path / "out")
        result.save_to_json(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"clip_{index}{suffix}" for index in range(5) for suffix in (".png", ".json")}


def test_a_frame_survives_pickle_and_filter(clip: Path, pipeline: Pipeline) -> None:
    result = list(pipeline.predict(clip))[2]
    for other in (pickle.loads(pickle.dumps(result)), result.filter(threshold=0)):
        assert (other["frame_index"], other.frame_index) == (2, 2)
        assert other.draw().size == (64, 48)


def test_a_table_has_frames_only_where_there_are_some(clip: Path, pipeline: Pipeline, grey: Callable[..., Any]) -> None:
    pytest.importorskip("pandas")
    table = to_pandas(pipeline.predict(clip))
    assert table["frame_index"].tolist() == [0, 1, 2, 3, 4]
    assert "time" in table
    assert "frame_index" not in to_pandas(pipeline.predict(grey()))


def test_a_file_is_read_as_it_is_needed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = video._next

    def counted(capture: Any) -> Any:
        read.append(1)
        return real(capture)

    monkeypatch.setattr(video, "_next", counted)
    frames = images(clip)
    next(frames)
    assert len(read) == 1
    frames.close()


def test_a_file_that_is_cut_says_so(tmp_path: Path, pipeline: Pipeline) -> None:
    path = write_clip(tmp_path / "long.avi", "MJPG", list(range(40, 240)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *good, last = pipeline.predict(path, on_error="return")
    assert 50 < len(good) < 150
    assert isinstance(last, Failure)
    assert isinstance(last.error, InvalidImage)
    assert f"it ends after {len(good)} of about 200 frames" in last.error.message


@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypisom" + bytes(5000), b"\x1aE\xdf\xa3" + bytes(5000)])
def test_a_file_that_is_no_video_inside(content: bytes, tmp_path: Path, pipeline: Pipeline) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    (failure,) = pipeline.predict(tmp_path / "a.mp4", on_error="return")
    assert isinstance(failure, Failure)
    assert "a.mp4' cannot be opened" in failure.error.message


def test_a_video_that_is_no_file_says_what_to_do(clip: Path, pipeline: Pipeline) -> None:
    content = clip.read_bytes()
    for source in (content, bytearray(content), io.BytesIO(content)):
        (failure,) = pipeline.predict(source, on_error="return")
        assert isinstance(failure, Failure)
        assert "a video: save it to a file, and give the path of that" in failure.error.message


class Camera:
    """Gives a frame whenever its clock moves on; its pixels are the frame's number."""

    def __init__(self, count: int) -> None:
        self.count, self.given, self.released = count, 0, threading.Event()
        self.tick = threading.Semaphore(0)

    def isOpened(self) -> bool:
        return True

    def set(self, what: int, value: float) -> bool:
        return False

    def read(self) -> tuple[bool, np.ndarray | None]:
        assert self.tick.acquire(timeout=30)
        if self.given == self.count:
            return False, None
        self.given += 1
        return True, np.full((4, 4, 3), self.given, np.uint8)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    camera, opened = Camera(10), list[Any]()

    def open_camera(source: Any) -> Camera:
        opened.append(source)
        return camera

    monkeypatch.setattr(cv2, "VideoCapture", open_camera)
    yield camera
    assert opened in ([0], ["rtsp://user:secret@cam/1"])


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_camera_gives_its_newest_frame_and_drops_the_others(camera: Camera) -> None:
    frames = images(0)
    camera.tick.release()
    first = next(frames)
    assert (first.frame_index, int(first.bgr()[0, 0, 0]), first.input_path) == (0, 1, "camera 0")
    camera.tick.release(3)
    wait_until(lambda: camera.given == 4)
    time.sleep(0.05)  # until the last one has been put down
    later = next(frames)
    assert (later.frame_index, int(later.bgr()[0, 0, 0])) == (3, 4)
    assert later.time is not None
    camera.tick.release()
    frames.close()
    assert camera.released.wait(30)


def test_the_end_of_a_stream_is_said_without_its_password(camera: Camera, pipeline: Pipeline) -> None:
    camera.tick.release(30)
    *_, last = pipeline.predict("rtsp://user:secret@cam/1", on_error="return")
    assert isinstance(last, Failure)
    assert isinstance(last.error, InputError)
    assert "sends no more frames" in last.error.message
    assert "secret" not in last.error.message
    assert camera.released.wait(30)


def test_a_camera_that_is_not_there(pipeline: Pipeline) -> None:
    (failure,) = pipeline.predict(99, on_error="return")
    assert isinstance(failure, Failure)
    assert "'camera 99' cannot be opened" in failure.error.message


@pytest.mark.parametrize("source", [[1, 2, 3], True, -1, [np.int64(3)]])
def test_other_numbers_are_no_cameras(source: Any, pipeline: Pipeline) -> None:
    for failure in pipeline.predict(source, on_error="return"):
        assert isinstance(failure, Failure)
        assert "is not an image" in failure.error.message
