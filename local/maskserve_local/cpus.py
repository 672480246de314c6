"""How many threads one run of a core takes in this process, and how many runs there are at the same time."""

from __future__ import annotations

import os
from pathlib import Path

from maskserve.errors import InvalidParameter
from maskserve_server.cpus import usable_cpus

THREADS, STREAMS = "MASKSERVE_THREADS", "MASKSERVE_STREAMS"
_MOST_STREAMS = 4  # as many as a pipeline's concurrency
_ROOT = Path("/")


def thread_count(root: Path = _ROOT) -> int:
    """Return how many threads one run of a core takes.

    It is the number in the environment's MASKSERVE_THREADS, or else that of the CPUs that the process may run on, which
    a container's quota limits further.

    Args:
        root: where /proc and /sys are.

    Raises:
        InvalidParameter: MASKSERVE_THREADS is no whole number from 1 on.
    """
    said = _said(THREADS)
    return usable_cpus(root) if said is None else said


def stream_count(threads: int) -> int:
    """Return how many images are computed at the same time where several are asked for: 1 for one after the other.

    It is the number in the environment's MASKSERVE_STREAMS, or else one for each thread, up to four.

    Raises:
        InvalidParameter: MASKSERVE_STREAMS is no whole number from 1 on.
    """
    said = _said(STREAMS)
    return min(threads, _MOST_STREAMS) if said is None else said


def _said(name: str) -> int | None:
    text = os.environ.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise InvalidParameter(f"{name}={text!r} must be a whole number from 1 to 1024")
    return int(text)
