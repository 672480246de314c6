"""What a row's process and the benchmark say to each other: a line asks for a turn, a line of JSON is its answer.

Needs nothing but OpenCV: PaddleX's environment has it, too.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

ANSWER = '{"seconds"'  # what the line begins with; a row's libraries may print others
_SECONDS = 1.0  # of a turn, at least


def take_turns(run: Callable[[Any], int], input_image: str, size: str) -> None:
    """Answer the image once, then for a second or once for every line on standard input.

    Args:
        run: gives the number of instances in an image, uint8 [height, width, 3] BGR.
        input_image: a file.
        size: width x height that it is stretched to.
    """
    import cv2

    width, height = map(int, size.split("x"))
    image = cv2.resize(cv2.imread(input_image), (width, height))
    found, runs, elapsed = run(image), 1, 0.0
    while True:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": elapsed / runs, "found": found, "bytes": peak}), flush=True)
        if not sys.stdin.readline():
            return
        runs, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < _SECONDS or not runs:
            run(image)
            runs += 1
