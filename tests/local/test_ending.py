"""A program that ends while a daemon thread of its own computes an image in this process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
    import sys, threading
    import cv2, numpy as np
    from tests.local.conftest import FakeEngine, fake_spec
    from tests.local.test_transport import image
    from maskserve.transport.wire import ImageRequest
    from maskserve_local.sources import Source
    from maskserve_local.transport import InProcessTransport

    PIXELS = np.zeros((300, 300, 3), np.uint8)

    class Engine(FakeEngine):
        def __call__(self, feeds):
            found = super().__call__(feeds)
            for _ in range(100):
                cv2.medianBlur(PIXELS, 7)  # C++, as engines are
            return found

    engine = Engine()
    transport = InProcessTransport(Source(fake_spec(), lambda threads, streams=1: engine))

    request = ImageRequest(image())  # here: who encodes it is in OpenCV, too

    def work():
        while True:
            transport.infer("fake", request)

    threading.Thread(target=work, daemon=True).start()
    engine.started.wait()
    sys.exit(3)
"""


def test_the_end_waits_for_the_image() -> None:
    """C++ aborts a program whose thread is unwound in it."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (3, "")
