"""Frames of video files, cameras and streams, one after the other as they are needed."""

from __future__ import annotations

import os
import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.ending import source_steps
from maskserve.errors import InputError, InvalidImage
from maskserve.inputs.image import InputImage
from maskserve.inputs.urls import shown

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

STREAMS = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt"})
"""Schemes of addresses at which a camera sends frames for as long as it runs."""
_ENOUGH = 0.9  # of the frames that a file announces; what containers announce is an estimate
_SILENCE = 30.0  # seconds after which a camera that sends nothing counts as lost
_VIDEO = re.compile(
    rb"....ftyp(?!avi[fs]|heic|heix|hevc|hevx|heim|heis|mif1|msf1|crx )|....moov|....mdat|....wide"  # MP4, QuickTime
    rb"|RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01\xba|OggS|FLV\x01|\x30\x26\xb2\x75\x8e\x66\xcf\x11"  # AVI, Matroska, ...
    rb"|G.{187}G.{187}G",  # a transport stream
    re.DOTALL,
)


def is_video(head: bytes) -> bool:
    """Return whether a file's first bytes (1,024 of them) are those of a video."""
    return _VIDEO.match(head) is not None


def file_frames(place: str, path: str) -> Generator[InputImage, None, None]:
    """Yield the frames of a video file, all of them, each read when it is asked for.

    Args:
        place: where the file is.
        path: what it is called.

    Yields:
        images with `frame_index` and `time`. One that says what is wrong, where the file cannot be opened, or ends much
        earlier than it announces.
    """
    import cv2

    capture = open_video(place)
    if capture is None:
        yield _failing(path, "cannot be opened: it is damaged, or its codec is not supported")
        return
    index = 0
    try:
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = capture.get(cv2.CAP_PROP_FPS)
        while (frame := _next(capture)) is not None:
            yield _frame(frame, path, index, _moment(capture, index, rate))
            index += 1
    finally:
        capture.release()
    if index == 0 or index < _ENOUGH * announced:
        yield _failing(path, f"is damaged: it ends after {index} of about {max(int(announced), 0)} frames")


def live_frames(source: int | str, path: str) -> Generator[InputImage, None, None]:
    """Yield the newest frame of a camera or a stream whenever one is asked for; those between are dropped.

    Args:
        source: the number of a camera, or the address of a stream.
        path: what it is called.

    Yields:
        images with `frame_index` (of the camera, dropped ones counted) and `time` (seconds since it was opened). In the
        end one that says that no more frames come.
    """
    capture = open_video(source)
    if capture is None:
        yield _failing(path, "cannot be opened: no camera answers there")
        return
    newest = _Newest(capture)
    try:
        for frame, index, moment in newest:
            yield _frame(frame, path, index, moment)
        yield _failing(path, "sends no more frames")
    finally:
        newest.close()


class _Newest:
    """Reads a camera on a thread of its own, and keeps its last frame only."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._frame: NDArray[np.uint8] | None = None
        self._index, self._moment, self._began = -1, 0.0, time.monotonic()
        self._stopped = self._ended = False
        threading.Thread(target=self._read, name="maskserve-camera", daemon=True).start()

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int, float]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame is not None or self._ended, timeout=_SILENCE)
                frame, index, moment = self._frame, self._index, self._moment
                self._frame = None
            if frame is None:
                return
            yield frame, index, moment

    def close(self) -> None:
        """Let the thread that reads the camera release it."""
        self._stopped = True

    def _read(self) -> None:
        try:
            while not self._stopped and (frame := _next(self._capture)) is not None:
                with self._changed:
                    self._frame, self._index = frame, self._index + 1
                    self._moment = time.monotonic() - self._began
                    self._changed.notify()
        finally:
            with source_steps.step():
                self._capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify()


def open_video(source: int | str) -> Any:
    """Return what reads a file, a camera or a stream, with upright frames; None if it cannot be opened."""
    import cv2

    quiet = hasattr(cv2, "getLogLevel")  # OpenCV 5 has it no more
    level = cv2.getLogLevel() if quiet else 0
    if quiet:
        cv2.setLogLevel(0)  # OpenCV prints what we say ourselves
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        capture = cv2.VideoCapture(source)
    except cv2.error:
        return None
    finally:
        if quiet:
            cv2.setLogLevel(level)
    if not capture.isOpened():
        return None
    if isinstance(source, str):
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # which OpenCV 4.11 does not do by itself
    return capture


def _moment(capture: Any, index: int, rate: float) -> float | None:
    """Return the time of the last frame, in seconds: the file's own, as phones record at uneven rates."""
    import cv2

    stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC))
    if stamp > 0 or index == 0:
        return round(max(stamp, 0.0) / 1000, 6)  # 0.3, and not 0.30000000000000004
    return index / rate if rate > 0 else None


def _next(capture: Any) -> NDArray[np.uint8] | None:
    with source_steps.step():
        there, frame = capture.read()
    if not there or frame is None:
        return None
    pixels: NDArray[np.uint8] = frame
    return pixels


def _frame(pixels: NDArray[np.uint8], path: str, index: int, moment: float | None) -> InputImage:
    return InputImage(partial(np.asarray, pixels), path, frame_index=index, time=moment)


def _failing(path: str, what: str) -> InputImage:
    def fail() -> bytes:
        kind = InvalidImage if "damaged" in what else InputError
        raise kind(f"the video {shown(path)!r} {what}")

    return InputImage(fail, path)
