"""Videos of one run of `maskserve predict`: their frames are segmented as they come, and become a video again."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from maskserve.drawing.following import Follower
from maskserve.errors import InputError
from maskserve.inputs.formats import HEAD_BYTES
from maskserve.inputs.video import STREAMS, is_video, open_video
from maskserve.saving.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from maskserve.results import InstanceSegResult

_SUFFIX, _CODEC = ".mp4", "mp4v"
_RATE = 25.0  # frames a second, where a video does not say it


def videos_among(sources: Sequence[str]) -> tuple[list[str | int], list[str]]:
    """Tell videos, cameras and streams from the other sources of a command line.

    Args:
        sources: paths, addresses and numbers. A number is a camera, unless it is the name of a file.

    Returns:
        The videos, cameras as numbers; and the other sources.
    """
    videos: list[str | int] = []
    others = []
    for source in sources:
        if source.isascii() and source.isdigit() and not os.path.exists(source):
            videos.append(int(source))
        elif source.partition("://")[0].lower() in STREAMS or _holds_video(source):
            videos.append(source)
        else:
            others.append(source)
    return videos, others


def _holds_video(path: str) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return is_video(file.read(HEAD_BYTES))
    except (OSError, ValueError):
        return False


def frame_count(source: str | int) -> int | None:
    """Return how many frames a file announces; None where it does not, and for cameras and streams."""
    import cv2

    if isinstance(source, int) or "://" in source:
        return None
    capture = open_video(source)
    if capture is None:
        return None
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 else None
    finally:
        capture.release()


def video_names(folder: Path, sources: Sequence[str | int]) -> list[str]:
    """Return what the files of each video are called: no two alike, and none as a video that is read.

    A name depends on the video and on the names of the others, not on their order.
    """
    plain = [f"camera-{source}" if isinstance(source, int) else _stem(source) for source in sources]
    often = Counter(name.casefold() for name in plain)
    names = []
    for source, name in zip(sources, plain, strict=True):
        whole = source if isinstance(source, int) or "://" in source else os.path.abspath(source)
        mark = f"-{hashlib.blake2b(str(whole).encode(errors='surrogateescape'), digest_size=6).hexdigest()}"
        chosen = name + mark if often[name.casefold()] > 1 else name
        while any(_is_same(folder / f"{chosen}{_SUFFIX}", other) for other in sources):
            chosen += "_res"
        names.append(chosen)
    return names


def _is_same(path: Path, source: str | int) -> bool:
    try:
        return not isinstance(source, int) and os.path.samefile(path, source)
    except (OSError, ValueError):
        return False


class VideoFiles:
    """The files of one video: `NAME.mp4` with what was drawn, and `NAME.ndjson` with a document for each frame.

    A context: the files are there when it ends, also after Ctrl-C, and none without a frame.

    Args:
        folder: where they are written.
        name: what they are called, see `video_names`.
        source: the video.
        drawing: how the frames are drawn, see `maskserve.drawing.look.DrawOptions`; "style", too.
    """

    def __init__(
        self, folder: Path, name: str, source: str | int, drawing: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._drawing, self._follower = dict(drawing), Follower()
        self.video, self.documents = folder / f"{name}{_SUFFIX}", folder / f"{name}.ndjson"
        self._rate, self._written = _rate(source), 0
        self._files, self._open = ExitStack(), ExitStack()
        self._size: tuple[int, int] | None = None

    def write(self, result: InstanceSegResult) -> None:
        """Add a frame. The first one says how large all are.

        Raises:
            InputError: the files cannot be written.
        """
        import cv2

        drawing = self._drawing
        if drawing.get("style") != "paddlex":
            drawing = {**drawing, "ids": self._follower.numbers(result.instances)}
        pixels = np.asarray(result.draw(**drawing))[:, :, ::-1]
        size = pixels.shape[1], pixels.shape[0]
        if self._size is None:
            self._begin(size)
        if size != self._size:
            pixels = cv2.resize(pixels, self._size)
        self._writer.write(np.ascontiguousarray(pixels))
        self._written += 1
        self._lines.write(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")

    def _begin(self, size: tuple[int, int]) -> None:
        import cv2

        self._size = size
        self._scratch = path = self._files.enter_context(replacing(self.video))
        self._writer: Any = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*_CODEC), self._rate, size)
        self._open.callback(self._writer.release)
        if not self._writer.isOpened():
            raise InputError(f"{self.video} cannot be written: OpenCV has no codec {_CODEC} here")
        scratch = self._files.enter_context(replacing(self.documents))
        self._lines = self._open.enter_context(scratch.open("w", encoding="utf-8"))

    def __enter__(self) -> VideoFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._open.close()
        if error is None and self._written and (frame_count(str(self._scratch)) or 0) < self._written:
            error = InputError(f"{self.video} cannot be written whole: is the disk full?")  # OpenCV does not say so
            self._files.__exit__(InputError, error, None)
            raise error
        if error is None or isinstance(error, KeyboardInterrupt):
            self._files.close()
        else:
            self._files.__exit__(kind, error, trace)


def _rate(source: str | int) -> float:
    import cv2

    if isinstance(source, int) or "://" in source:
        return _RATE
    capture = open_video(source)
    if capture is None:
        return _RATE
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    return rate if 0 < rate <= 1000 else _RATE


def _stem(source: str) -> str:
    from maskserve.inputs.image import InputImage
    from maskserve.saving.files import own_name

    if "://" in source:
        return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in source.rpartition("@")[2])
    return own_name(InputImage(bytes, source)).stem
