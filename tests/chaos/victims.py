"""The processes of a running `maskserve serve`, by what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

GATEWAY_WORKER, TRITON = "gateway worker", "tritonserver"


def find(serve: int, role: str) -> list[int]:
    """Return the ids of the processes below `maskserve serve` that have a role.

    Args:
        serve: the id of its process.
        role: "tritonserver", "gateway worker", or the last word of an entry's name ("core").
    """
    return [process.pid for process in _below(serve) if _role(process) == role]


def _below(pid: int) -> Iterator[psutil.Process]:
    yield from psutil.Process(pid).children(recursive=True)


def _role(process: psutil.Process) -> str | None:
    try:
        words, status = process.cmdline(), process.status()
    except psutil.Error:
        return None
    if not words or status == psutil.STATUS_ZOMBIE:
        return None
    if words[0].endswith("triton_python_backend_stub"):
        return Path(words[1]).parents[1].name.rpartition(".")[2]
    if words[0].endswith("/tritonserver"):
        return TRITON
    if any("spawn_main" in word for word in words) and _is_gateway(process.parent()):
        return GATEWAY_WORKER
    return None


def _is_gateway(process: psutil.Process | None) -> bool:
    try:
        return process is not None and "gateway" in process.cmdline()
    except psutil.Error:
        return False
