"""Programs that end while a thread of theirs is in OpenCV: C++ aborts them, unless that thread is waited for."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

BUSY = """
    import sys, threading
    import cv2, numpy as np
    from tests.client.conftest import FakeTransport
    from maskserve.ending import EndGate
    from maskserve.inputs import video
    from maskserve.pipeline import Pipeline

    PIXELS = np.zeros((200, 200, 3), np.uint8)

    def read():
        return cv2.medianBlur(PIXELS, 7)

    class Camera:
        def read(self):
            return True, read()

        def release(self):
            pass

    def frames():
        while True:
            for _ in range(20):
                frame = read()
            yield frame
"""
CAMERA = """
    video.open_video = lambda source: Camera()
    kept = video.live_frames(0, "camera 0")
    next(kept)
"""
SOURCE = """
    kept = Pipeline("tiny", FakeTransport()).predict(frames())
    for _ in range(3):
        next(kept)
"""
SILENT = """
    def silent():
        yield PIXELS
        threading.Event().wait(60)

    kept = Pipeline("tiny", FakeTransport()).predict(silent())
    next(kept)
"""
CHILD = """
    import os, time
    gate, inside = EndGate(30), threading.Event()

    def work():
        with gate.step():
            inside.set()
            time.sleep(1)

    threading.Thread(target=work, daemon=True).start()
    inside.wait()
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""
LATE = """
    import atexit, sys
    kept = []

    def ask():
        try:
            next(iter(kept[0].predict(frames())))
        except RuntimeError as error:
            print(error)

    atexit.register(ask)  # before maskserve is imported, so that it runs after the end has begun there
"""


@pytest.mark.parametrize("program", [CAMERA, SOURCE, SILENT, CHILD], ids=["camera", "source", "silent", "child"])
def test_a_program_ends_as_it_should(program: str) -> None:
    if program is CHILD and sys.platform == "win32":
        pytest.skip("there is no fork here")
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(BUSY + program + "\n    sys.exit(3)")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert time.monotonic() - begun < 25


def test_who_asks_for_images_after_the_end_has_begun_gets_an_error() -> None:
    program = (
        LATE
        + BUSY
        + """
    kept.append(Pipeline("tiny", FakeTransport()))
"""
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the program ends: nothing is computed any more\n", "")
