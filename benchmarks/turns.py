"""What a row's process and the benchmark say to each other: a line asks for a turn, a line of JSON is its answer.

An empty line asks for a turn of one caller and one second, a line such as "4 2.5" for four callers and 2.5 seconds.
Needs nothing but OpenCV: PaddleX's environment has it, too.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ANSWER = '{"seconds"'  # what the line begins with; a row's libraries may print others
_SECONDS = 1.0  # of a turn, at least
_ENOUGH = 4  # answers, for a rate between them


def take_turns(run: Callable[[Any], int], input_image: str, size: str) -> None:
    """Answer the image once, then take turns.

    Args:
        run: gives the number of instances in an image, uint8 [height, width, 3] BGR.
        input_image: a file.
        size: width x height that it is stretched to.
    """
    import cv2

    width, height = map(int, size.split("x"))
    image = cv2.resize(cv2.imread(input_image), (width, height))
    answer_turns(lambda: run(image))


def answer_turns(run: Callable[[], int]) -> None:
    """Run once, then let callers run it for every line on standard input.

    Args:
        run: answers one image, and gives the number of instances. Several threads may call it.
    """
    found = run()
    _say(0.0, found, 0.0)
    for line in sys.stdin:
        callers, seconds = (*line.split(), 1, _SECONDS)[:2]
        _say(*_turn(run, int(callers), float(seconds)))


def _turn(run: Callable[[], int], callers: int, seconds: float) -> tuple[float, int, float]:
    """Return the seconds for an image, the instances, and the median seconds that a caller waits."""
    start = time.perf_counter()
    done = list[float]()

    def call(_: int) -> tuple[int, list[float]]:
        found, latencies = 0, list[float]()
        while not latencies or time.perf_counter() < start + seconds:
            began = time.perf_counter()
            found = run()
            ended = time.perf_counter()
            done.append(ended)
            latencies.append(ended - began)
        return found, latencies

    if callers == 1:
        seen = [call(0)]
    else:
        with ThreadPoolExecutor(callers) as pool:
            seen = list(pool.map(call, range(callers)))
    latencies = [latency for _, each in seen for latency in each]
    return _seconds_each(start, sorted(done), start + seconds), seen[-1][0], statistics.median(latencies)


def _seconds_each(start: float, done: list[float], end: float) -> float:
    """Return the seconds for an image: the slope of the answers that came while all callers asked, in time.

    Before and after that some of the processor is idle: in a short turn that would count as much as the work. It is
    `maskserve_tools.tune.load.rate_of`, which PaddleX's environment does not have.
    """
    meanwhile = [moment for moment in done if moment <= end]
    if len(meanwhile) < _ENOUGH or meanwhile[-1] <= meanwhile[0]:
        return (done[-1] - start) / len(done)
    return 1 / statistics.linear_regression(meanwhile, range(len(meanwhile))).slope


def _say(seconds: float, found: int, latency: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "found": found, "bytes": peak, "latency": latency}), flush=True)
