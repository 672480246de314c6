"""Videos on the command line: an annotated video, a document for each frame, and what cannot be done."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskserve.inputs.image import InputImage, as_bgr
from maskserve.pipeline import Pipeline
from maskserve.results import InstanceSegResult
from maskserve_tools.cli import main
from maskserve_tools.videos import VideoFiles, videos_among
from tests.client.conftest import FakeTransport
from tests.client.drawing.scenes import filled, instances_of
from tests.client.test_video import VALUES, write_clip


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch) -> Any:
    transport = FakeTransport()
    monkeypatch.setattr("maskserve.create_pipeline", lambda *_, **__: Pipeline("tiny", transport))
    return lambda *arguments: main(["predict", "--pipeline", "tiny", *map(str, arguments)])


def read(path: Path) -> list[Any]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (found := capture.read())[0]:
        frames.append(found[1])
    return frames


def test_a_video_becomes_a_video(predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    assert predict("--input", clip, "--save_path", tmp_path / "out") == 0
    out, err = capsys.readouterr()
    assert out.count("'frame_index'") == 5
    assert "clip.mp4 and" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.mp4", "clip.ndjson"]
    frames = read(tmp_path / "out" / "clip.mp4")
    assert len(frames) == 5
    assert not np.allclose(frames[0], 40, atol=8)  # something is drawn on it
    documents = [json.loads(line) for line in (tmp_path / "out" / "clip.ndjson").read_text().splitlines()]
    assert [(each["frame_index"], each["time"]) for each in documents] == [
        (index, pytest.approx(index / 10)) for index in range(5)
    ]
    assert documents[0]["masks"][0]["counts"]


def test_an_object_of_a_video_keeps_its_colour(tmp_path: Path) -> None:
    """Two objects whose scores change places from frame to frame."""
    masks = [filled((96, 128), 4, 4, 60, 92), filled((96, 128), 68, 4, 124, 92)]
    both = instances_of(masks, (96, 128))
    pixels = np.full((96, 128, 3), 90, np.uint8)
    with VideoFiles(tmp_path, "clip", 0, {"show": "masks", "opacity": 1}) as files:
        for order in ([0, 1], [1, 0], [0, 1], [1, 0]):
            found = replace(both.take(order), scores=both.scores)
            files.write(InstanceSegResult(InputImage(partial(as_bgr, pixels), frame_index=0), found))
    frames = read(tmp_path / "clip.mp4")
    assert len(frames) == 4
    for frame in frames:
        first, second = (frame[40:50, x : x + 10].reshape(-1, 3).mean(axis=0) for x in (25, 90))
        assert np.abs(first[::-1] - (0xFF, 0x6B, 0x6B)).max() < 12
        assert np.abs(second[::-1] - (0x4C, 0xC9, 0xF0)).max() < 12


def test_the_options_of_drawing_are_those_of_a_video_too(predict: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    for name, options in {
        "red": ["--show", "masks", "--colors", "red", "--opacity", "1"],
        "paddlex": ["--style", "paddlex"],
    }.items():
        assert predict("--input", clip, "--save_path", tmp_path / name, *options) == 0
    red = read(tmp_path / "red" / "clip.mp4")[0]
    assert np.abs(red[20:30, 5:15].reshape(-1, 3).mean(axis=0) - (0, 0, 255)).max() < 12
    assert not np.allclose(read(tmp_path / "paddlex" / "clip.mp4")[0], red, atol=12)


def test_videos_and_images_in_one_command(predict: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    assert predict("--input", clip, tmp_path / "a.png", "--save_path", tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"clip.mp4", "clip.ndjson", "a.png", "a.json"}


def test_the_video_itself_stays(predict: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", "mp4v", VALUES)
    before = clip.read_bytes()
    assert predict("--input", clip, "--save_path", tmp_path) == 0
    assert clip.read_bytes() == before
    assert len(read(tmp_path / "clip_res.mp4")) == 5


def test_of_a_video_that_cannot_be_read_nothing_is_written(
    predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(5000))
    assert predict("--input", tmp_path / "a.mp4", "--save_path", tmp_path / "out") == 1
    assert "a.mp4' cannot be opened" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_no_two_videos_share_a_file_and_none_is_overwritten(predict: Any, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    first = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    second = write_clip(tmp_path / "x" / "clip.avi", "MJPG", VALUES[:3])
    third = write_clip(tmp_path / "Clip.mkv", "MJPG", VALUES[:2])
    other = write_clip(tmp_path / "other.avi", "MJPG", VALUES[:4])
    taken = write_clip(tmp_path / "other.mp4", "mp4v", VALUES)
    before = taken.read_bytes()
    assert predict("--input", first, second, third, "--save_path", tmp_path / "out") == 0
    assert sorted(len(read(path)) for path in (tmp_path / "out").glob("*.mp4")) == [2, 3, 5]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert predict("--input", third, second, first, "--save_path", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert predict("--input", other, taken, "--save_path", tmp_path) == 0
    assert taken.read_bytes() == before


def test_a_video_that_cannot_be_saved_does_not_stop_the_others(
    predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (write_clip(tmp_path / f"{name}.avi", "MJPG", VALUES) for name in ("one", "two"))
    (tmp_path / "out" / "one.mp4").mkdir(parents=True)
    assert predict("--input", one, two, "--save_path", tmp_path / "out") == 1
    assert "one.mp4 cannot be written" in capsys.readouterr().err
    assert len(read(tmp_path / "out" / "two.mp4")) == 5


def test_a_video_that_lost_frames_is_not_called_written(
    predict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    monkeypatch.setattr("maskserve_tools.videos.frame_count", lambda path: 3)
    assert predict("--input", clip, "--save_path", tmp_path / "out") == 1
    assert "cannot be written whole" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_what_a_video_cannot_be_done_with(predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    assert predict("--input", clip, "--save_path", tmp_path / "out.mp4") == 1
    assert "must be a directory for a video" in capsys.readouterr().err
    assert predict("--input", clip, "--save_path", tmp_path / "out", "--resume") == 1
    assert "--resume" in capsys.readouterr().err
    assert predict("--input", clip, "--cutouts", tmp_path / "cut") == 1
    assert "--cutouts" in capsys.readouterr().err


def test_a_directory_that_is_there_may_have_a_dot_in_its_name(predict: Any, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", "MJPG", VALUES)
    (tmp_path / "out.v2").mkdir()
    assert predict("--input", clip, "--save_path", tmp_path / "out.v2") == 0
    assert len(read(tmp_path / "out.v2" / "clip.mp4")) == 5


def test_numbers_are_cameras_unless_they_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").write_bytes(b"")
    assert videos_among(["0", "7", "rtsp://cam/1", "a.jpg"]) == ([0, "rtsp://cam/1"], ["7", "a.jpg"])
