"""Videos as phones record them: held upright, with frames at uneven times."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.client.test_video import VALUES, write_clip

from maskserve.inputs.sources import images
from maskserve.pipeline import Pipeline

_TIMES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
_HEADER = (b"moov", b"trak", b"tkhd")


def patched(content: bytes, path: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    """Return an MP4 file, or the inside of one of its boxes, with another content of the box at `path`."""
    written, place = b"", 0
    while place < len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        inside = content[place + 8 : place + size]
        if kind == path[0]:
            inside = change(inside) if len(path) == 1 else patched(inside, path[1:], change)
        written += struct.pack(">I4s", len(inside) + 8, kind) + inside
        place += size
    return written


def uneven(box: bytes) -> bytes:
    """Return the box of the times with three frames as they were, and the others nine times as long."""
    count, ticks = struct.unpack(">II", box[8:16])
    return box[:4] + struct.pack(">5I", 2, 3, ticks, count - 3, 9 * ticks)


def turned(box: bytes) -> bytes:
    """Return the header of a track which says: turn the frames clockwise, as a phone held upright does."""
    return box[:40] + struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30) + box[76:]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", "mp4v", VALUES)


def test_frames_stand_upright(clip: Path) -> None:
    lying = [frame.bgr() for frame in images(clip)]
    clip.write_bytes(patched(clip.read_bytes(), _HEADER, turned))
    for frame, before in zip(images(clip), lying, strict=True):
        np.testing.assert_array_equal(frame.bgr(), np.rot90(before, -1))


def test_the_time_is_that_of_the_file(clip: Path, pipeline: Pipeline) -> None:
    whole = clip.read_bytes().replace(b"edts", b"free")  # a list of edits, which would end it after half a second
    clip.write_bytes(patched(whole, _TIMES, uneven))
    times = [result["time"] for result in pipeline.predict(clip)]
    assert times == [0, 0.1, 0.2, 0.3, 1.2]
